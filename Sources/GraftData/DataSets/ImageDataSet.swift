import GraftCore

/// Pictures in files, each with a class.
///
/// Made by ``ImageFolder`` or ``ImageTable``. Decoded pictures are kept in memory as long as they fit a budget.
public struct ImageDataSet: DataSet {
    /// One picture.
    struct Entry: Sendable {
        var path: String
        var label: Int
        /// The file with a class for each pixel.
        var mask: String?
        /// 0 or 1 for each class.
        var marks: [Float]?
    }

    /// The names of the classes, in the order of their labels.
    public let classNames: [String]
    /// The files that were left out because they cannot be used, each with the reason; empty unless that was asked for.
    public let skipped: [String]
    private let entries: [Entry]
    private let limits: Limits
    private let cache: ImageCache

    init(entries: [Entry], classNames: [String], skipped: [String], limits: Limits, cacheBytes: Int) {
        self.entries = entries
        self.classNames = classNames
        self.skipped = skipped
        self.limits = limits
        cache = ImageCache(budget: cacheBytes)
    }

    /// The number of samples.
    public var count: Int { entries.count }

    /// The class of a sample.
    public func label(at index: Int) -> Int { entries[index].label }

    /// The path of a picture.
    public func name(at index: Int) -> String { entries[index].path }

    /// The inputs of one sample.
    public func inputs(as view: SampleView) -> [SampleInput] {
        guard let preprocessing = view.preprocessing else { return [] }
        return [SampleInput(elementType: .float32, shape: preprocessing.sampleShape)]
    }

    /// What there is to learn about each picture.
    public var targetKind: TargetKind {
        entries.first?.mask != nil ? .pixels : entries.first?.marks != nil ? .labels : .classes
    }

    /// What is to be learned about one picture.
    public func target(at index: Int, as view: SampleView) throws -> Tensor {
        let entry = entries[index]
        if let marks = entry.marks { return Tensor(marks) }
        guard let path = entry.mask else { return Tensor(scalar: Int64(entry.label)) }
        guard let preprocessing = view.preprocessing else { throw DataSetError.noPreprocessing }
        let (image, mask) = (try image(at: index), try Mask.read(path: path, limits: limits))
        guard image.width == mask.width, image.height == mask.height else {
            throw DataSetError.badMasks(
                path: path,
                reason: "it is \(mask.width) x \(mask.height) pixels, its picture \(image.width) x \(image.height)")
        }
        let seen =
            view.augmentation.map {
                $0.apply(toMask: mask, for: preprocessing, seed: view.seed, epoch: view.epoch, sample: index)
            } ?? preprocessing.sized(mask: mask)
        return Tensor(seen.pixels.map { Int64($0) }, shape: [seen.height, seen.width])
    }

    /// Writes one sample's inputs.
    public func load(_ index: Int, as view: SampleView, into targets: [UnsafeMutableRawBufferPointer]) throws {
        guard let preprocessing = view.preprocessing, let target = targets.first else {
            throw DataSetError.noPreprocessing
        }
        let image = try image(at: index)
        let numbers = target.bindMemory(to: Float.self)
        guard let augmentation = view.augmentation else { return preprocessing.apply(image, into: numbers) }
        let changed = augmentation.apply(
            image, for: preprocessing, seed: view.seed, epoch: view.epoch, sample: index)
        preprocessing.normalize(changed, into: numbers)
    }

    /// A picture as it is in its file.
    ///
    /// - Throws: ``ImageError`` or ``FileError``.
    public func image(at index: Int) throws -> Image {
        if let image = cache.image(index) { return image }
        let image = try Image(path: entries[index].path, limits: limits)
        cache.keep(image, as: index)
        return image
    }

    /// The digest of a picture's file.
    public func contentHash(at index: Int) throws -> ContentHash {
        let file = try MappedFile(path: entries[index].path)
        return withExtendedLifetime(file) { ContentHash(file.bytes) }
    }

    /// Checks the structure of every file and drops or refuses those that cannot be used.
    ///
    /// - Throws: ``DataSetError/unusableFiles(path:count:reasons:)`` unless `skipping`.
    static func checked(
        _ entries: [Entry], path: String, limits: Limits, skipping: Bool
    ) throws -> (entries: [Entry], skipped: [String]) {
        var problems = [String?](repeating: nil, count: entries.count)
        problems.withUnsafeMutableBufferPointer { problems in
            nonisolated(unsafe) let problems = problems
            Parallel.forEachRange(entries.count, grain: 16) { range in
                for index in range {
                    do { try Image.check(path: entries[index].path, limits: limits) } catch {
                        problems[index] = "\(error)"
                    }
                }
            }
        }
        let reasons = problems.compactMap(\.self)
        if !reasons.isEmpty, !skipping {
            throw DataSetError.unusableFiles(path: path, count: reasons.count, reasons: Array(reasons.prefix(10)))
        }
        return (zip(entries, problems).filter { $1 == nil }.map(\.0), reasons)
    }
}
