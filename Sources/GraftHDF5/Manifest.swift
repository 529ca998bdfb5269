import GraftCore

/// The records of the stream that the helper process answers with.
///
/// Integers are 64 bits, little-endian; byte strings and lists are preceded by their length.
enum ManifestTag: UInt8 {
    /// A group follows: name, attributes, then its children up to `endGroup`.
    case group = 1
    /// The innermost group is complete.
    case endGroup = 2
    /// A data set follows: name, attributes, content.
    case dataset = 3
    /// Reading failed. The last byte of the answer; before it come cause, refusal, object, detail and their length.
    case failure = 4
    /// The file was read completely. Nothing follows.
    case finished = 5
    /// Decoded bytes follow.
    case bytes = 6
}

/// The forms in which attributes and data sets are described.
enum ManifestValue: UInt8 {
    /// No elements and no type.
    case empty = 0
    /// Type, shape and the offset in the file.
    case mapped = 1
    /// Type, shape and the decoded bytes.
    case embedded = 2
    /// Type and shape; the bytes are decoded when asked for.
    case deferred = 3
    /// Texts.
    case strings = 4
    /// A description of what is not read.
    case unsupported = 5
}

/// Why the helper process could not answer.
enum ManifestFailure: UInt8 {
    /// The file is refused.
    case refused = 1
    /// The HDF5 library failed.
    case damaged = 2
    /// The sandbox could not be set up.
    case sandbox = 3
}

/// The first bytes of an answer.
let manifestSignature: [UInt8] = Array("GRAFTH5\u{1}".utf8)

/// Reads an answer, which is not trusted: the process that wrote it parsed a hostile file.
struct ManifestCursor {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// A cursor at the failure that the answer ends with; nil where it does not.
    static func atFailure(in answer: [UInt8]) throws(Malformed) -> ManifestCursor? {
        guard answer.last == ManifestTag.failure.rawValue, answer.count >= 9 + manifestSignature.count else {
            return nil
        }
        var cursor = ManifestCursor(answer)
        cursor.position = answer.count - 9
        let length = try cursor.number()
        guard length <= answer.count - 9 else { throw Malformed() }
        cursor.position = answer.count - 9 - length
        return cursor
    }

    /// The answer ends too early or holds what the format does not have.
    struct Malformed: Error {}

    /// The number of bytes that are left.
    var remaining: Int { bytes.count - position }

    mutating func byte() throws(Malformed) -> UInt8 {
        guard remaining >= 1 else { throw Malformed() }
        defer { position += 1 }
        return bytes[position]
    }

    /// A number that fits a non-negative `Int`.
    mutating func number() throws(Malformed) -> Int {
        guard remaining >= 8 else { throw Malformed() }
        defer { position += 8 }
        let value = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: position, as: UInt64.self) }
        guard let number = Int(exactly: UInt64(littleEndian: value)) else { throw Malformed() }
        return number
    }

    /// A count of things that take at least `size` bytes each.
    mutating func count(ofSize size: Int) throws(Malformed) -> Int {
        let count = try number()
        guard count <= remaining / size else { throw Malformed() }
        return count
    }

    /// The bytes of a byte string, in the answer.
    mutating func range() throws(Malformed) -> Range<Int> {
        let count = try count(ofSize: 1)
        defer { position += count }
        return position..<(position + count)
    }

    mutating func byteString() throws(Malformed) -> [UInt8] {
        let range = try range()
        return Array(bytes[range])
    }

    mutating func buffer() throws(Malformed) -> ByteBuffer {
        let range = try range()
        return bytes.withUnsafeBytes { ByteBuffer(copying: UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    /// A byte string that is valid UTF-8.
    mutating func text() throws(Malformed) -> String {
        guard let text = String(validating: try byteString(), as: UTF8.self) else { throw Malformed() }
        return text
    }

    mutating func shape() throws(Malformed) -> [Int] {
        let rank = try count(ofSize: 8)
        guard rank <= 32 else { throw Malformed() }
        var shape: [Int] = []
        for _ in 0..<rank { shape.append(try number()) }
        return shape
    }

    mutating func elementType() throws(Malformed) -> ElementType {
        guard let code = Int32(exactly: try number()), let type = ElementType(rawValue: code), type != .string else {
            throw Malformed()
        }
        return type
    }
}
