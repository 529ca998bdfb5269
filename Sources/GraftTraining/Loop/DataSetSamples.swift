import GraftCore
import GraftData

/// Some samples of a data set, seen through a model's contract.
public struct DataSetSamples: TrainingSamples {
    /// The data set.
    public let dataSet: any DataSet
    /// Which of its samples, in order.
    public let indices: [Int]
    private let preprocessing: Preprocessing?
    private let augmentation: AugmentationPipeline?
    private let inputName: String
    public let labels: [Int]

    /// Samples of a data set.
    ///
    /// - Parameters:
    ///   - indices: which samples; all where nil.
    ///   - inputName: the model's input that pictures and rows are for; arrays name their own.
    ///   - augmentation: the random changes of varied samples; nil for none.
    public init(
        _ dataSet: any DataSet, indices: [Int]? = nil, preprocessing: Preprocessing?, inputName: String,
        augmentation: AugmentationPipeline? = nil
    ) {
        self.dataSet = dataSet
        self.indices = indices ?? Array(0..<dataSet.count)
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.inputName = inputName
        labels = self.indices.map { dataSet.label(at: $0) }
    }

    public var count: Int { indices.count }
    public var targetKind: TargetKind { dataSet.targetKind }

    public func targets(_ samples: [Int], variation: Variation?) throws -> Tensor {
        guard dataSet.targetKind != .classes else { return Tensor(samples.map { Int64(labels[$0]) }) }
        let view = view(variation)
        var found = [Result<Tensor, any Error>?](repeating: nil, count: samples.count)
        found.withUnsafeMutableBufferPointer { found in
            // Each iteration writes its own element.
            nonisolated(unsafe) let found = found
            Parallel.forEachRange(samples.count) { range in
                for row in range {
                    found[row] = Result { try dataSet.target(at: indices[samples[row]], as: view) }
                }
            }
        }
        let rows = try found.map { try $0?.get() }.compactMap(\.self)
        guard let first = rows.first, rows.allSatisfy({ $0.shape == first.shape }) else {
            throw TrainingError.noSamples("the targets of the samples have different shapes")
        }
        let buffer = ByteBuffer(count: first.byteCount * rows.count)
        for (row, tensor) in rows.enumerated() {
            let part = (row * first.byteCount)..<((row + 1) * first.byteCount)
            try tensor.withBytes {
                UnsafeMutableRawBufferPointer(rebasing: buffer.mutableBytes[part]).copyMemory(from: $0)
            }
        }
        return try Tensor(first.elementType, shape: [rows.count] + first.shape, storage: .owned(buffer))
    }
    public var classNames: [String]? { dataSet.classNames.isEmpty ? nil : dataSet.classNames }
    public var canVary: Bool { augmentation.map { !$0.steps.isEmpty } ?? false }

    private func view(_ variation: Variation?) -> SampleView {
        SampleView(
            preprocessing: preprocessing, augmentation: variation == nil ? nil : augmentation,
            seed: variation?.seed ?? 0, epoch: variation?.version ?? 0)
    }

    public func batch(_ samples: [Int], variation: Variation?) throws -> [String: Tensor] {
        let view = view(variation)
        let inputs = dataSet.inputs(as: view)
        let buffers = inputs.map { ByteBuffer(count: $0.byteCount * samples.count) }
        var failures = [(any Error)?](repeating: nil, count: samples.count)
        failures.withUnsafeMutableBufferPointer { failures in
            // Each iteration writes its own element and its own rows of the buffers.
            nonisolated(unsafe) let failures = failures
            Parallel.forEachRange(samples.count) { range in
                for row in range {
                    let targets = zip(inputs, buffers).map { input, buffer in
                        UnsafeMutableRawBufferPointer(
                            rebasing: buffer.mutableBytes[(row * input.byteCount)..<((row + 1) * input.byteCount)])
                    }
                    do {
                        try dataSet.load(indices[samples[row]], as: view, into: targets)
                    } catch {
                        failures[row] = error
                    }
                }
            }
        }
        if let failure = failures.lazy.compactMap({ $0 }).first { throw failure }
        var result: [String: Tensor] = [:]
        for (input, buffer) in zip(inputs, buffers) {
            let name = input.name.isEmpty ? inputName : input.name
            result[name] = try Tensor(
                input.elementType, shape: [samples.count] + input.shape, storage: .owned(buffer))
        }
        return result
    }

    public func contentHash(of sample: Int) throws -> ContentHash {
        let hasher = ContentHash.Hasher()
        hasher.update(try dataSet.contentHash(at: indices[sample]).description)
        hasher.update(preprocessing?.json.text() ?? "")
        return hasher.finish()
    }

    public func picture(of sample: Int) -> (bytes: [UInt8], mediaType: String, name: String)? {
        guard dataSet is ImageDataSet else { return nil }
        let path = dataSet.name(at: indices[sample])
        guard let file = try? MappedFile(path: path), file.count <= 256 << 10 else { return nil }
        let bytes = file.withBytes { Array($0) }
        let types: [(start: [UInt8], name: String)] = [
            ([0xFF, 0xD8], "image/jpeg"), ([0x89, 0x50], "image/png"), ([0x52, 0x49], "image/webp"),
            ([0x42, 0x4D], "image/bmp"),
        ]
        let name = String(path.split(separator: "/").last ?? "")
        if let type = types.first(where: { bytes.starts(with: $0.start) }) { return (bytes, type.name, name) }
        // What browsers do not show becomes a PNG file.
        guard let image = try? Image(path: path), let copy = image.png(), copy.count <= 256 << 10 else { return nil }
        return (copy, "image/png", name)
    }
}
