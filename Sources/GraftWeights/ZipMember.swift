import GraftCore

/// One entry of a ZIP archive's central directory.
public struct ZipMember: Sendable, Equatable {
    /// How a member's bytes are stored.
    public enum Compression: Sendable, Equatable {
        /// As they are.
        case stored
        /// Deflated (RFC 1951).
        case deflated
        /// By a method with this number, which is not supported.
        case other(UInt16)
    }

    /// The name, with `/` between folders.
    public let name: String
    /// How the bytes are stored.
    public let compression: Compression
    /// The range of the stored bytes in the archive's file.
    public let storedRange: Range<Int>
    /// The number of bytes after decompression.
    public let byteCount: Int
    /// The CRC-32 of the bytes after decompression.
    public let checksum: UInt32
}

/// The bytes of a member.
public enum ZipContents: Sendable {
    /// Stored bytes: a range of the mapped archive.
    case mapped(MappedFile, Range<Int>)
    /// Inflated bytes.
    case inflated(ByteBuffer)

    /// The number of bytes.
    public var count: Int {
        switch self {
        case .mapped(_, let range): range.count
        case .inflated(let buffer): buffer.count
        }
    }

    /// Calls `body` with the bytes.
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        switch self {
        case .mapped(let file, let range):
            try withExtendedLifetime(file) { try body(UnsafeRawBufferPointer(rebasing: file.bytes[range])) }
        case .inflated(let buffer):
            try withExtendedLifetime(buffer) { try body(buffer.bytes) }
        }
    }
}
