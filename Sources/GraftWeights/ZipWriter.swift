import GraftCore

/// Writes a ZIP archive whose members are stored as they are.
///
/// Members can be aligned in the file, so that a reader can map their bytes. Sizes beyond 4 GiB use ZIP64. The archive
/// depends on names and bytes only: every time stamp is 1980-01-01.
public struct ZipWriter: ~Copyable {
    private struct Entry {
        var name: [UInt8]
        var checksum: UInt32
        var count: Int
        var offset: Int
    }

    private let output: FileWriter
    private let start: Int
    private let alwaysZip64: Bool
    private var entries: [Entry] = []

    /// A writer that appends an archive to a file.
    ///
    /// - Parameter alwaysZip64: whether 64-bit sizes are written even where 32 bits are enough.
    public init(to output: FileWriter, alwaysZip64: Bool = false) {
        self.output = output
        self.alwaysZip64 = alwaysZip64
        start = output.position
    }

    /// Appends a member whose bytes are the given parts in order.
    ///
    /// - Parameter alignment: the position of the member's first byte in the archive is a multiple of this power of two.
    /// - Throws: ``FileError``.
    public mutating func add(_ name: String, alignment: Int = 1, _ parts: UnsafeRawBufferPointer...) throws {
        let name = Array(name.utf8)
        precondition(name.count <= 0xFFFF && alignment > 0 && alignment <= 4096)
        let count = parts.reduce(0) { $0 + $1.count }
        let checksum = parts.reduce(UInt32(0)) { CRC32.checksum($1, after: $0) }
        let offset = output.position - start
        let large = alwaysZip64 || count >= 0xFFFF_FFFF
        var header: [UInt8] = []
        header.u32(0x0403_4B50)
        Self.common(
            into: &header, large: large, checksum: checksum, count: large ? 0xFFFF_FFFF : count, nameCount: name.count)
        var extra: [UInt8] = []
        if large {
            extra.u16(1)
            extra.u16(16)
            extra.u64(count)
            extra.u64(count)
        }
        // Padding lies in an extra field (0xD935, the tag that alignment tools use): its alignment, then zeros.
        let unpadded = offset + 30 + name.count + extra.count
        if unpadded % alignment != 0 {
            let padding = (alignment - (unpadded + 6) % alignment) % alignment
            extra.u16(0xD935)
            extra.u16(2 + padding)
            extra.u16(alignment)
            extra += [UInt8](repeating: 0, count: padding)
        }
        header.u16(extra.count)
        try output.write(header)
        try output.write(name)
        try output.write(extra)
        for part in parts { try output.write(part) }
        entries.append(Entry(name: name, checksum: checksum, count: count, offset: offset))
    }

    /// Writes the directory; the archive is complete after.
    ///
    /// - Throws: ``FileError``.
    public consuming func finish() throws {
        let directory = output.position - start
        for entry in entries {
            let large = alwaysZip64 || entry.count >= 0xFFFF_FFFF
            let far = alwaysZip64 || entry.offset >= 0xFFFF_FFFF
            var record: [UInt8] = []
            record.u32(0x0201_4B50)
            record.u16(3 << 8 | 45)  // made on Unix, by version 4.5 of the format
            Self.common(
                into: &record, large: large || far, checksum: entry.checksum, count: large ? 0xFFFF_FFFF : entry.count,
                nameCount: entry.name.count)
            var extra: [UInt8] = []
            if large || far {
                extra.u16(1)
                extra.u16((large ? 16 : 0) + (far ? 8 : 0))
                if large {
                    extra.u64(entry.count)
                    extra.u64(entry.count)
                }
                if far { extra.u64(entry.offset) }
            }
            record.u16(extra.count)
            record.u16(0)  // comment
            record.u16(0)  // disk
            record.u16(0)  // internal attributes
            record.u32(0o100644 << 16)  // a regular file
            record.u32(far ? 0xFFFF_FFFF : entry.offset)
            try output.write(record + entry.name + extra)
        }
        try writeEnd(directory: directory, size: output.position - start - directory)
    }

    private borrowing func writeEnd(directory: Int, size: Int) throws {
        var end: [UInt8] = []
        let count = entries.count
        if alwaysZip64 || count >= 0xFFFF || directory >= 0xFFFF_FFFF || size >= 0xFFFF_FFFF {
            let record = output.position - start
            end.u32(0x0606_4B50)
            end.u64(44)
            end.u16(45)
            end.u16(45)
            end.u32(0)
            end.u32(0)
            end.u64(count)
            end.u64(count)
            end.u64(size)
            end.u64(directory)
            end.u32(0x0706_4B50)
            end.u32(0)
            end.u64(record)
            end.u32(1)
        }
        end.u32(0x0605_4B50)
        end.u32(0)
        end.u16(min(count, 0xFFFF))
        end.u16(min(count, 0xFFFF))
        end.u32(min(size, 0xFFFF_FFFF))
        end.u32(min(directory, 0xFFFF_FFFF))
        end.u16(0)
        try output.write(end)
    }

    /// The fields that local headers and directory entries share, from the version needed to the name's length.
    private static func common(
        into record: inout [UInt8], large: Bool, checksum: UInt32, count: Int, nameCount: Int
    ) {
        record.u16(large ? 45 : 20)
        record.u16(0x0800)  // names are UTF-8
        record.u16(0)  // stored
        record.u16(0)
        record.u16(0x0021)  // 1980-01-01
        record.u32(Int(checksum))
        record.u32(count)
        record.u32(count)
        record.u16(nameCount)
    }
}

extension [UInt8] {
    fileprivate mutating func u16(_ value: Int) { append(contentsOf: [UInt8(value & 0xFF), UInt8(value >> 8 & 0xFF)]) }
    fileprivate mutating func u32(_ value: Int) {
        u16(value & 0xFFFF)
        u16(value >> 16 & 0xFFFF)
    }
    fileprivate mutating func u64(_ value: Int) {
        u32(value & 0xFFFF_FFFF)
        u32(value >> 32 & 0xFFFF_FFFF)
    }
}
