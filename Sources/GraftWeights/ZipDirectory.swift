import GraftCore
import OrderedCollections

/// Reads the central directory of a ZIP archive (PKWARE APPNOTE 6.3.10) and checks it against the file.
///
/// Stricter than the format: nothing may lie in front of the archive or be shared between members, and each local
/// header must repeat the name and method of its directory entry.
struct ZipDirectory {
    private static let endSignature: UInt32 = 0x0605_4B50
    private static let end64Signature: UInt32 = 0x0606_4B50
    private static let locator64Signature: UInt32 = 0x0706_4B50
    private static let entrySignature: UInt32 = 0x0201_4B50
    private static let localSignature: UInt32 = 0x0403_4B50

    private let path: String
    private let data: LittleEndian
    private let limits: Limits
    private let allowsAbsoluteNames: Bool

    /// Where the directory lies, as the end record says.
    private struct Extent {
        var count: Int
        var range: Range<Int>
    }

    /// A directory entry before its local header has been read.
    private struct Entry {
        var name: String
        var method: UInt16
        var checksum: UInt32
        var storedCount: Int
        var byteCount: Int
        var localOffset: Int
    }

    static func read(_ file: MappedFile, limits: Limits, allowsAbsoluteNames: Bool) throws
        -> OrderedDictionary<String, ZipMember>
    {
        try withExtendedLifetime(file) {
            let directory = ZipDirectory(
                path: file.path, data: LittleEndian(bytes: file.bytes), limits: limits,
                allowsAbsoluteNames: allowsAbsoluteNames)
            return try directory.members()
        }
    }

    private func members() throws -> OrderedDictionary<String, ZipMember> {
        let extent = try self.extent()
        var members = OrderedDictionary<String, ZipMember>()
        var claims: [(range: Range<Int>, name: String)] = []
        var offset = extent.range.lowerBound
        for _ in 0..<extent.count {
            let (entry, next) = try self.entry(at: offset, end: extent.range.upperBound)
            offset = next
            let start = try dataStart(of: entry)
            let bound = extent.range.lowerBound
            guard let stored = Checked.range(offset: start, count: entry.storedCount, within: bound) else {
                throw damaged(entry, "its \(entry.storedCount) bytes reach beyond the archive's data")
            }
            claims.append((entry.localOffset..<stored.upperBound, entry.name))
            if entry.name.hasSuffix("/"), entry.byteCount == 0 { continue }
            let member = ZipMember(
                name: entry.name, compression: compression(entry.method), storedRange: stored,
                byteCount: entry.byteCount, checksum: entry.checksum)
            try check(member)
            guard members.updateValue(member, forKey: entry.name) == nil else {
                throw ZipError.duplicateName(path: path, member: entry.name)
            }
        }
        guard offset == extent.range.upperBound else {
            throw ZipError.notAnArchive(path: path, reason: "the directory holds more than its \(extent.count) entries")
        }
        claims.sort { $0.range.lowerBound < $1.range.lowerBound }
        for (a, b) in zip(claims, claims.dropFirst()) where a.range.upperBound > b.range.lowerBound {
            throw ZipError.overlap(path: path, member: a.name, other: b.name)
        }
        return members
    }

    private func compression(_ method: UInt16) -> ZipMember.Compression {
        switch method {
        case 0: .stored
        case 8: .deflated
        default: .other(method)
        }
    }

    /// Bounds on what a member declares.
    private func check(_ member: ZipMember) throws {
        let stored = member.storedRange.count
        switch member.compression {
        case .stored:
            guard stored == member.byteCount else {
                throw ZipError.damaged(
                    path: path, member: member.name,
                    reason: "it is stored with \(stored) bytes but declares \(member.byteCount)")
            }
        case .deflated:
            // Small members cannot hurt, whatever their ratio: rows of zeros deflate by more than a factor of 1000.
            let ratioFloor = 64 << 20
            let (bound, overflow) = stored.multipliedReportingOverflow(by: limits.expansionRatio)
            guard overflow || member.byteCount <= max(bound, ratioFloor) else {
                throw ZipError.limitExceeded(
                    path: path, member: member.name,
                    reason: "\(stored) bytes would grow to \(member.byteCount), more than the limit "
                        + "expansion-ratio of \(limits.expansionRatio)")
            }
            guard member.byteCount <= limits.decodedTensorBytes else {
                throw ZipError.limitExceeded(
                    path: path, member: member.name,
                    reason: "\(member.byteCount) bytes exceed the limit decoded-tensor-bytes of "
                        + "\(limits.decodedTensorBytes)")
            }
        case .other: break
        }
    }

    // MARK: - The records

    private func extent() throws -> Extent {
        let size = data.bytes.count
        guard size >= 22 else { throw ZipError.notAnArchive(path: path, reason: "it has only \(size) bytes") }
        let lowest = max(0, size - 22 - 0xFFFF)
        var position = size - 22
        while position >= lowest {
            if data.u32(position) == Self.endSignature, let comment = data.u16(position + 20),
                position + 22 + Int(comment) == size
            {
                return try extent(end: position)
            }
            position -= 1
        }
        throw ZipError.notAnArchive(path: path, reason: "the end of the directory is missing; it may be truncated")
    }

    private func extent(end: Int) throws -> Extent {
        guard let disk = data.u16(end + 4), let directoryDisk = data.u16(end + 6), let here = data.u16(end + 8),
            let total = data.u16(end + 10), let size = data.u32(end + 12), let offset = data.u32(end + 16)
        else { throw ZipError.notAnArchive(path: path, reason: "the end record is incomplete") }
        if data.u32(end - 20) == Self.locator64Signature { return try extent64(locator: end - 20) }
        guard disk == 0, directoryDisk == 0, here == total else {
            throw ZipError.unsupported(path: path, member: "", feature: "an archive in several parts")
        }
        return try extent(count: Int(total), offset: Int(offset), size: Int(size), end: end)
    }

    private func extent64(locator: Int) throws -> Extent {
        guard let record = data.int64(locator + 8), record < locator, data.u32(record) == Self.end64Signature,
            let recordSize = data.int64(record + 4), recordSize == locator - record - 12,
            data.u32(record + 16) == 0, data.u32(record + 20) == 0, let total = data.int64(record + 32),
            let size = data.int64(record + 40),
            let offset = data.int64(record + 48)
        else { throw ZipError.notAnArchive(path: path, reason: "the ZIP64 end record is damaged") }
        return try extent(count: total, offset: offset, size: size, end: record)
    }

    private func extent(count: Int, offset: Int, size: Int, end: Int) throws -> Extent {
        guard let range = Checked.range(offset: offset, count: size, within: end), range.upperBound == end else {
            throw ZipError.notAnArchive(path: path, reason: "the directory does not end where the end record starts")
        }
        guard count <= limits.objectCount, count <= size / 46 else {
            throw ZipError.notAnArchive(path: path, reason: "\(count) entries do not fit its \(size) bytes")
        }
        return Extent(count: count, range: range)
    }

    private func entry(at offset: Int, end: Int) throws -> (Entry, next: Int) {
        guard end - offset >= 46, data.u32(offset) == Self.entrySignature, let madeBy = data.u16(offset + 4),
            let flags = data.u16(offset + 8), let method = data.u16(offset + 10), let checksum = data.u32(offset + 16),
            let stored = data.u32(offset + 20), let count = data.u32(offset + 24),
            let nameCount = data.u16(offset + 28),
            let extraCount = data.u16(offset + 30), let commentCount = data.u16(offset + 32),
            let disk = data.u16(offset + 34), let attributes = data.u32(offset + 38), let local = data.u32(offset + 42)
        else { throw ZipError.notAnArchive(path: path, reason: "a directory entry at byte \(offset) is damaged") }
        let nameEnd = offset + 46 + Int(nameCount)
        let extraEnd = nameEnd + Int(extraCount)
        let next = extraEnd + Int(commentCount)
        guard next <= end else {
            throw ZipError.notAnArchive(path: path, reason: "a directory entry at byte \(offset) is damaged")
        }
        guard let name = String(validating: data.bytes[(offset + 46)..<nameEnd], as: UTF8.self) else {
            throw ZipError.unsupported(path: path, member: "at byte \(offset)", feature: "a name that is not UTF-8")
        }
        try checkName(name, madeBy: madeBy, attributes: attributes)
        guard flags & 0x41 == 0 else { throw ZipError.unsupported(path: path, member: name, feature: "encryption") }
        var entry = Entry(
            name: name, method: method, checksum: checksum, storedCount: Int(stored), byteCount: Int(count),
            localOffset: Int(local))
        if stored == .max || count == .max || local == .max || disk == .max {
            try readExtra64(nameEnd..<extraEnd, wants: (count == .max, stored == .max, local == .max), into: &entry)
        } else if disk != 0 {
            throw ZipError.unsupported(path: path, member: name, feature: "an archive in several parts")
        }
        return (entry, next)
    }

    /// Takes the 64-bit sizes and offset from the ZIP64 extra field, which holds only those that did not fit.
    private func readExtra64(
        _ range: Range<Int>, wants: (count: Bool, stored: Bool, local: Bool), into entry: inout Entry
    ) throws {
        var offset = range.lowerBound
        while range.upperBound - offset >= 4, let tag = data.u16(offset), let size = data.u16(offset + 2) {
            let end = offset + 4 + Int(size)
            guard end <= range.upperBound else { break }
            if tag == 1 {
                var position = offset + 4
                func next() throws -> Int {
                    guard position + 8 <= end, let value = data.int64(position) else {
                        throw damaged(entry, "its ZIP64 sizes are damaged")
                    }
                    position += 8
                    return value
                }
                if wants.count { entry.byteCount = try next() }
                if wants.stored { entry.storedCount = try next() }
                if wants.local { entry.localOffset = try next() }
                return
            }
            offset = end
        }
        if wants.count || wants.stored || wants.local { throw damaged(entry, "its ZIP64 sizes are missing") }
    }

    private func dataStart(of entry: Entry) throws -> Int {
        let offset = entry.localOffset
        guard data.u32(offset) == Self.localSignature, let method = data.u16(offset + 8),
            let nameCount = data.u16(offset + 26), let extraCount = data.u16(offset + 28)
        else { throw damaged(entry, "there is no header at byte \(offset)") }
        guard
            let name = Checked.range(offset: offset + 30, count: Int(nameCount), within: data.bytes.count),
            data.bytes[name].elementsEqual(entry.name.utf8), method == entry.method
        else { throw damaged(entry, "its header at byte \(offset) tells another name or method") }
        return name.upperBound + Int(extraCount)
    }

    private func checkName(_ name: String, madeBy: UInt16, attributes: UInt32) throws {
        func refuse(_ reason: String) -> ZipError { .unsafeMember(path: path, member: name, reason: reason) }
        guard !name.isEmpty else { throw refuse("its name is empty") }
        guard !name.utf8.contains(0) else { throw refuse("its name holds a zero byte") }
        guard !name.split(separator: "/").contains("..") else { throw refuse("its name leads upwards") }
        if !allowsAbsoluteNames, name.hasPrefix("/") || name.contains("\\") || name.dropFirst().first == ":" {
            throw refuse("its name is not a relative path")
        }
        // Host 3 is Unix, whose file mode is in the upper half of the attributes; 0o120000 marks a symbolic link.
        if madeBy >> 8 == 3, (attributes >> 16) & 0o170000 == 0o120000 { throw refuse("it is a symbolic link") }
    }

    private func damaged(_ entry: Entry, _ reason: String) -> ZipError {
        .damaged(path: path, member: entry.name, reason: reason)
    }
}
