import CZlib
import GraftCore
import OrderedCollections

/// A ZIP archive opened for reading: NPZ, `.keras` and `.pt` files are such archives.
///
/// Opening reads the directory only. Stored members stay in the mapped file; deflated ones are inflated into memory
/// when asked for. Nothing is ever extracted to disk. Refused are overlapping members, names with `..`, links, repeated
/// names, encryption, and members that would grow beyond the limits.
public struct ZipArchive: Sendable {
    /// The mapped file.
    public let file: MappedFile
    /// The members by name, in the directory's order; folders are left out.
    public let members: OrderedDictionary<String, ZipMember>

    /// Opens the archive at `path`.
    ///
    /// - Parameter allowsAbsoluteNames: whether names may start with `/`; for archives whose names are no paths, such as
    ///   arrays that are named after a graph's values.
    /// - Throws: ``FileError`` or ``ZipError``.
    public init(path: String, limits: Limits = Limits(), allowsAbsoluteNames: Bool = false) throws {
        try self.init(file: MappedFile(path: path), limits: limits, allowsAbsoluteNames: allowsAbsoluteNames)
    }

    /// Opens the archive in a mapped file.
    ///
    /// - Throws: ``ZipError``.
    public init(file: MappedFile, limits: Limits = Limits(), allowsAbsoluteNames: Bool = false) throws {
        self.file = file
        members = try ZipDirectory.read(file, limits: limits, allowsAbsoluteNames: allowsAbsoluteNames)
    }

    /// Whether bytes start as a ZIP archive does.
    public static func isArchive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4 && bytes[0] == 0x50 && bytes[1] == 0x4B
            && (bytes[2] == 3 && bytes[3] == 4 || bytes[2] == 5 && bytes[3] == 6)
    }

    /// The member of the given name.
    ///
    /// - Throws: ``ZipError/noSuchMember(path:member:suggestion:)``.
    public func member(_ name: String) throws(ZipError) -> ZipMember {
        guard let member = members[name] else {
            throw .noSuchMember(path: file.path, member: name, suggestion: Suggestion.sentence(name, in: members.keys))
        }
        return member
    }

    /// The bytes of a member.
    ///
    /// - Parameter verifying: whether the checksum of a stored member is computed, which reads all its bytes. Inflated
    ///   bytes are always verified.
    /// - Throws: ``ZipError``.
    public func contents(of member: ZipMember, verifying: Bool = true) throws(ZipError) -> ZipContents {
        switch member.compression {
        case .stored:
            let contents = ZipContents.mapped(file, member.storedRange)
            if verifying, contents.withBytes({ CRC32.checksum($0) }) != member.checksum {
                throw .wrongChecksum(path: file.path, member: member.name)
            }
            return contents
        case .deflated:
            return .inflated(try inflate(member))
        case .other(let method):
            throw .unsupported(path: file.path, member: member.name, feature: "compression method \(method)")
        }
    }

    /// The bytes of the member with the given name.
    ///
    /// - Throws: ``ZipError``.
    public func contents(of name: String, verifying: Bool = true) throws(ZipError) -> ZipContents {
        try contents(of: member(name), verifying: verifying)
    }

    private func inflate(_ member: ZipMember) throws(ZipError) -> ByteBuffer {
        let buffer = ByteBuffer(count: member.byteCount)
        let whole = withExtendedLifetime(file) {
            Inflate.inflate(UnsafeRawBufferPointer(rebasing: file.bytes[member.storedRange]), into: buffer.mutableBytes)
        }
        guard whole else {
            throw .damaged(
                path: file.path, member: member.name,
                reason: "its deflated bytes are damaged or do not give the \(member.byteCount) bytes declared")
        }
        guard CRC32.checksum(buffer.bytes) == member.checksum else {
            throw .wrongChecksum(path: file.path, member: member.name)
        }
        return buffer
    }
}

/// CRC-32 as ZIP and PNG use it.
package enum CRC32 {
    /// The checksum of bytes that follow others with checksum `start`.
    package static func checksum(_ bytes: UnsafeRawBufferPointer, after start: UInt32 = 0) -> UInt32 {
        var result = UInt(start)
        var offset = 0
        while offset < bytes.count {
            let count = min(bytes.count - offset, 1 << 30)
            let part = bytes.baseAddress! + offset
            result = crc32(result, part.assumingMemoryBound(to: Bytef.self), uInt(count))
            offset += count
        }
        return UInt32(truncatingIfNeeded: result)
    }
}

/// Raw deflate streams (RFC 1951).
enum Inflate {
    /// Inflates `source` into `target`; whether the stream is valid and gives exactly as many bytes as `target` holds
    /// from exactly the bytes of `source`.
    static func inflate(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        var stream = z_stream()
        guard inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            return false
        }
        defer { inflateEnd(&stream) }
        // zlib never writes through next_in. A byte beyond an empty target is never written since avail_out is 0.
        var scratch: UInt8 = 0
        return withUnsafeMutablePointer(to: &scratch) { scratch in
            var read = 0
            var written = 0
            while true {
                let input = min(source.count - read, 1 << 30)
                let output = min(target.count - written, 1 << 30)
                stream.next_in = source.baseAddress.map {
                    UnsafeMutablePointer(mutating: ($0 + read).assumingMemoryBound(to: Bytef.self))
                }
                stream.avail_in = uInt(input)
                stream.next_out =
                    target.baseAddress.map { ($0 + written).assumingMemoryBound(to: Bytef.self) } ?? scratch
                stream.avail_out = uInt(output)
                let status = CZlib.inflate(&stream, Z_NO_FLUSH)
                let consumed = input - Int(stream.avail_in)
                let produced = output - Int(stream.avail_out)
                read += consumed
                written += produced
                if status == Z_STREAM_END { return read == source.count && written == target.count }
                guard status == Z_OK, consumed > 0 || produced > 0 else { return false }
            }
        }
    }
}
