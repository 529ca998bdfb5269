import GraftCore
import OrderedCollections

extension HDF5File {
    /// Opens a file: a helper process walks it, and what it answers is checked against the file.
    ///
    /// - Parameter limits: the bounds that reading is held to.
    /// - Throws: ``HDF5Error`` or `FileError`.
    public static func open(path: String, limits: Limits = Limits()) throws -> HDF5File {
        let source = try HDF5Source(path: path)
        guard source.hasSignature else { throw HDF5Error.notHDF5(path: path) }
        let answer = try HelperProcess(source: source, limits: limits).answer(limit: limits.parseBytes)
        var parser = ManifestParser(answer: answer, source: source, limits: limits)
        return HDF5File(path: path, root: try parser.parse())
    }
}

/// Builds the tree that an answer describes.
struct ManifestParser {
    private let answer: [UInt8]
    private var cursor: ManifestCursor
    private let source: HDF5Source
    private let limits: Limits

    init(answer: [UInt8], source: HDF5Source, limits: Limits) {
        self.answer = answer
        cursor = ManifestCursor(answer)
        self.source = source
        self.limits = limits
    }

    mutating func parse() throws -> HDF5Group {
        do {
            try checkStart()
            guard try nextTag() == .group, try cursor.byteString().isEmpty else { throw ManifestCursor.Malformed() }
            let root = try group(path: "", depth: 0)
            guard try nextTag() == .finished, cursor.remaining == 0 else { throw ManifestCursor.Malformed() }
            return root
        } catch is ManifestCursor.Malformed {
            throw malformed
        }
    }

    /// The position of the bytes of a data set that was asked for alone.
    mutating func parseByteCount() throws -> Int {
        do {
            try checkStart()
            guard try nextTag() == .bytes else { throw ManifestCursor.Malformed() }
            return try cursor.number()
        } catch is ManifestCursor.Malformed {
            throw malformed
        }
    }

    private var malformed: HDF5Error { .helperFailed(path: source.path, reason: "the helper's answer is incomplete") }

    /// Throws the failure that the answer ends with, and checks how it begins.
    private mutating func checkStart() throws {
        if var failure = try ManifestCursor.atFailure(in: answer) { throw try error(&failure) }
        for expected in manifestSignature {
            guard try cursor.byte() == expected else { throw ManifestCursor.Malformed() }
        }
    }

    private mutating func nextTag() throws -> ManifestTag {
        guard let tag = ManifestTag(rawValue: try cursor.byte()) else { throw ManifestCursor.Malformed() }
        return tag
    }

    private func error(_ cursor: inout ManifestCursor) throws -> HDF5Error {
        let cause = ManifestFailure(rawValue: try cursor.byte())
        let refusal = HDF5Refusal(rawValue: try cursor.byte())
        let object = try cursor.text()
        let detail = try cursor.text()
        switch (cause, refusal) {
        case (.refused, let refusal?): return HDF5Error.refused(path: source.path, object: object, refusal: refusal)
        case (.damaged, _): return HDF5Error.damaged(path: source.path, object: object, detail: detail)
        default: return HDF5Error.helperFailed(path: source.path, reason: detail)
        }
    }

    private mutating func group(path: String, depth: Int) throws -> HDF5Group {
        guard depth <= limits.nestingDepth else { throw ManifestCursor.Malformed() }
        var group = HDF5Group(attributes: try attributes())
        while true {
            let tag = try nextTag()
            if tag == .endGroup { return group }
            let name = try cursor.text()
            let childPath = "\(path)/\(name)"
            guard group.children[name] == nil else {
                throw HDF5Error.damaged(path: source.path, object: childPath, detail: "it is there twice")
            }
            switch tag {
            case .group: group.children[name] = .group(try self.group(path: childPath, depth: depth + 1))
            case .dataset:
                let attributes = try attributes()
                let content = try content(path: childPath)
                group.children[name] = .dataset(HDF5Dataset(content: content, attributes: attributes))
            default: throw ManifestCursor.Malformed()
            }
        }
    }

    private mutating func attributes() throws -> OrderedDictionary<String, HDF5Attribute> {
        let count = try cursor.count(ofSize: 9)
        var attributes = OrderedDictionary<String, HDF5Attribute>(minimumCapacity: count)
        for _ in 0..<count {
            let name = try cursor.text()
            switch ManifestValue(rawValue: try cursor.byte()) {
            case .empty: attributes[name] = .empty
            case .unsupported: attributes[name] = .unsupported(try cursor.text())
            case .strings: attributes[name] = .strings(try strings())
            case .embedded:
                let (type, shape) = (try cursor.elementType(), try cursor.shape())
                attributes[name] = .tensor(try tensor(type, shape, .owned(try cursor.buffer())))
            default: throw ManifestCursor.Malformed()
            }
        }
        return attributes
    }

    private mutating func content(path: String) throws -> HDF5Dataset.Content {
        switch ManifestValue(rawValue: try cursor.byte()) {
        case .unsupported: return .unsupported(try cursor.text())
        case .strings:
            let strings = try strings()
            return .tensor(try tensor(.string, strings.shape, .strings(strings.elements)))
        case .embedded:
            let (type, shape) = (try cursor.elementType(), try cursor.shape())
            return .tensor(try tensor(type, shape, .owned(try cursor.buffer())))
        case .deferred:
            let (type, shape) = (try cursor.elementType(), try cursor.shape())
            let bytes = try byteCount(type, shape)
            guard bytes <= limits.decodedTensorBytes else { throw ManifestCursor.Malformed() }
            let decoded = DecodedDataset(source: source, object: path, byteCount: bytes, limits: limits)
            return .tensor(try tensor(type, shape, .deferred(decoded)))
        case .mapped:
            let (type, shape) = (try cursor.elementType(), try cursor.shape())
            let offset = try cursor.number()
            let bytes = try byteCount(type, shape)
            guard let range = Checked.range(offset: offset, count: bytes, within: source.file.count) else {
                throw HDF5Error.damaged(
                    path: source.path, object: path,
                    detail: "its \(bytes) bytes from \(offset) do not lie in the file of \(source.file.count) bytes")
            }
            return .tensor(try tensor(type, shape, .mapped(source.file, range)))
        default: throw ManifestCursor.Malformed()
        }
    }

    private mutating func strings() throws -> HDF5Strings {
        guard let characters = HDF5StringFormat.Characters(rawValue: try cursor.byte()),
            let padding = HDF5StringFormat.Padding(rawValue: try cursor.byte())
        else { throw ManifestCursor.Malformed() }
        let length = try cursor.number()
        let shape = try cursor.shape()
        let count = try cursor.count(ofSize: 8)
        guard Checked.product(shape) == count else { throw ManifestCursor.Malformed() }
        var elements: [[UInt8]] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try cursor.byteString()) }
        let format = HDF5StringFormat(
            characters: characters, padding: padding, fixedLength: length == 0 ? nil : length)
        return HDF5Strings(elements: elements, shape: shape, format: format)
    }

    private func byteCount(_ type: ElementType, _ shape: [Int]) throws -> Int {
        guard let count = Checked.product(shape), let bytes = type.byteCount(elements: count) else {
            throw ManifestCursor.Malformed()
        }
        return bytes
    }

    private func tensor(_ type: ElementType, _ shape: [Int], _ storage: TensorStorage) throws -> Tensor {
        do { return try Tensor(type, shape: shape, storage: storage) } catch { throw ManifestCursor.Malformed() }
    }
}

/// A data set whose bytes are decoded by a helper process when they are asked for.
struct DecodedDataset: DeferredBytes {
    let source: HDF5Source
    let object: String
    let byteCount: Int
    let limits: Limits

    func load() throws -> ByteBuffer {
        let process = HelperProcess(source: source, limits: limits)
        let head = manifestSignature.count + 1 + 8
        return try process.answer(object: object, head: head, byteCount: byteCount) { head in
            var parser = ManifestParser(answer: head, source: source, limits: limits)
            guard try parser.parseByteCount() == byteCount else {
                throw HDF5Error.damaged(path: source.path, object: object, detail: "the file has changed")
            }
        }
    }
}
