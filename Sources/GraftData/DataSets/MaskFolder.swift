import GraftCore

/// A folder with the folders `images` and `masks`: for each picture a PNG file of the same name whose values are classes.
public enum MaskFolder {
    /// Whether a folder is of this kind.
    static func matches(_ folders: [String]) -> Bool { folders.contains("images") && folders.contains("masks") }

    /// Opens the data set in the folder `path`.
    ///
    /// A picture and its mask go together by their names without the ending. The classes are the model's, those of
    /// `classes.txt` (a name a line), or the numbers up to the greatest in the masks; 255 stands for pixels that do not
    /// count. Every mask is read once here, so that one that does not fit is found before training.
    /// - Throws: ``DataSetError`` or ``FileError``.
    static func open(
        path: String, modelClasses: [String]?, skippingUnusable: Bool, limits: Limits, cacheBytes: Int
    ) throws -> ImageDataSet {
        let pictures = try Folder.files(below: "\(path)/images", limits: limits).filter {
            ImageFormat.isPictureName($0) || Image.isPicture(path: $0)
        }
        let masks = Dictionary(
            try Folder.files(below: "\(path)/masks", limits: limits).map { (stem($0, below: "\(path)/masks"), $0) },
            uniquingKeysWith: { first, _ in first })
        guard !pictures.isEmpty else { throw DataSetError.emptyClass(path: path, className: "images") }
        var entries: [ImageDataSet.Entry] = []
        var lonely: [String] = []
        for picture in pictures {
            if let mask = masks[stem(picture, below: "\(path)/images")] {
                entries.append(ImageDataSet.Entry(path: picture, label: 0, mask: mask))
            } else {
                lonely.append("\(picture): there is no mask of this name in \(path)/masks")
            }
        }
        if !lonely.isEmpty, !skippingUnusable {
            throw DataSetError.unusableFiles(path: path, count: lonely.count, reasons: Array(lonely.prefix(10)))
        }
        let checked = try ImageDataSet.checked(entries, path: path, limits: limits, skipping: skippingUnusable)
        guard !checked.entries.isEmpty else {
            throw DataSetError.noClasses(path: path, advice: "none of its pictures can be used")
        }
        var scan = try Scan(checked.entries, path: path, limits: limits, skipping: skippingUnusable)
        let names = try modelClasses ?? listed(path) ?? (0...scan.greatest).map { "\($0)" }
        if scan.greatest >= names.count {
            throw DataSetError.badMasks(
                path: scan.greatestPath,
                reason: "it holds class \(scan.greatest), but there are \(names.count) classes"
                    + (names.count > 8 ? "" : ": \(names.joined(separator: ", "))"))
        }
        // Samples are divided by the class that most of their pixels have, beside class 0.
        for index in scan.entries.indices { scan.entries[index].label = scan.labels[index] }
        return ImageDataSet(
            entries: scan.entries, classNames: names, skipped: lonely + checked.skipped + scan.skipped,
            limits: limits, cacheBytes: cacheBytes)
    }

    /// The path below a folder without the ending.
    private static func stem(_ path: String, below folder: String) -> String {
        let name = path.dropFirst(folder.utf8.count + 1)
        guard let dot = name.lastIndex(of: "."), !name[dot...].contains("/") else { return String(name) }
        return String(name[..<dot])
    }

    private static func listed(_ path: String) throws -> [String]? {
        guard let file = try? MappedFile(path: "\(path)/classes.txt") else { return nil }
        let text = file.withBytes { String(decoding: $0, as: UTF8.self) }
        let names = text.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.isEmpty }
        return names.isEmpty ? nil : names
    }

    /// What is in the masks.
    private struct Scan {
        var entries: [ImageDataSet.Entry] = []
        var labels: [Int] = []
        var skipped: [String] = []
        var greatest = 0
        var greatestPath = ""

        init(_ all: [ImageDataSet.Entry], path: String, limits: Limits, skipping: Bool) throws {
            var found = [Result<[Int], DataSetError>?](repeating: nil, count: all.count)
            found.withUnsafeMutableBufferPointer { found in
                // Each iteration writes its own element.
                nonisolated(unsafe) let found = found
                Parallel.forEachRange(all.count, grain: 4) { range in
                    for index in range {
                        do {
                            let mask = try Mask.read(path: all[index].mask ?? "", limits: limits)
                            found[index] = .success(Mask.histogram(mask))
                        } catch {
                            found[index] = .failure(.badMasks(path: all[index].mask ?? "", reason: "\(error)"))
                        }
                    }
                }
            }
            var sums = [Int](repeating: 0, count: 256)
            for (entry, result) in zip(all, found) {
                switch result {
                case .success(let counts):
                    for value in 0..<256 { sums[value] += counts[value] }
                    if let most = (0..<Mask.ignored).last(where: { counts[$0] > 0 }), most > greatest {
                        (greatest, greatestPath) = (most, entry.mask ?? "")
                    }
                    entries.append(entry)
                    let main = (1..<Mask.ignored).max { (counts[$0], $1) < (counts[$1], $0) } ?? 0
                    labels.append(counts[main] > 0 ? main : 0)
                case .failure(let error):
                    guard skipping else { throw error }
                    skipped.append(error.description)
                case nil: break
                }
            }
            guard !entries.isEmpty else {
                throw DataSetError.noClasses(path: path, advice: "none of its masks can be used")
            }
            if greatest == 0, sums[Mask.ignored] > 0 {
                throw DataSetError.badMasks(
                    path: path,
                    reason: "its masks hold only 0 and 255, and 255 means \"does not count\"; write class 1 as 1")
            }
        }
    }
}
