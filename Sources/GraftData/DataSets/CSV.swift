import GraftCore

/// Reads tables of separated values (RFC 4180; also with semicolons or tabs, and with a byte order mark).
enum CSV {
    /// Calls `row` with the line number and fields of each row; blank lines are left out.
    ///
    /// - Throws: ``DataSetError/badTable(path:line:reason:)`` or what `row` throws.
    static func read(path: String, limits: Limits, row: (Int, [String]) throws -> Void) throws {
        let file = try MappedFile(path: path)
        try withExtendedLifetime(file) {
            var bytes = file.bytes
            if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = UnsafeRawBufferPointer(rebasing: bytes[3...]) }
            var parser = Parser(bytes: bytes, separator: separator(of: bytes), path: path, limits: limits)
            while let fields = try parser.next() {
                if fields != [""] { try row(parser.startLine, fields) }
            }
        }
    }

    /// The separator that the first line has most of; a comma where it has none.
    private static func separator(of bytes: UnsafeRawBufferPointer) -> UInt8 {
        let line = bytes.prefix(1 << 16).prefix { $0 != 0x0A }
        let candidates: [Unicode.Scalar] = [",", ";", "\t"]
        let counts = candidates.map { candidate in line.count { $0 == UInt8(ascii: candidate) } }
        let best = counts.indices.max { (counts[$0], -$0) < (counts[$1], -$1) } ?? 0
        return UInt8(ascii: candidates[best])
    }

    private struct Parser {
        let bytes: UnsafeRawBufferPointer
        let separator: UInt8
        let path: String
        let limits: Limits
        var position = 0
        var line = 1
        var startLine = 1

        func failure(_ reason: String) -> DataSetError { .badTable(path: path, line: startLine, reason: reason) }

        /// The fields of the next row; nil at the end.
        mutating func next() throws(DataSetError) -> [String]? {
            guard position < bytes.count else { return nil }
            startLine = line
            var fields: [String] = []
            while true {
                guard fields.count < min(limits.objectCount, 1 << 20) else { throw failure("it has too many columns") }
                fields.append(try field())
                guard position < bytes.count else { return fields }
                let byte = bytes[position]
                position += 1
                if byte == separator { continue }
                // A line may end in CR LF, LF or CR.
                if byte == 0x0D, position < bytes.count, bytes[position] == 0x0A { position += 1 }
                line += 1
                return fields
            }
        }

        private mutating func field() throws(DataSetError) -> String {
            var content: [UInt8] = []
            if position < bytes.count, bytes[position] == 0x22 {
                position += 1
                while true {
                    guard position < bytes.count else { throw failure("a quoted field does not end") }
                    let byte = bytes[position]
                    position += 1
                    if byte == 0x22 {
                        guard position < bytes.count, bytes[position] == 0x22 else { break }
                        position += 1
                    } else if byte == 0x0A {
                        line += 1
                    }
                    content.append(byte)
                }
                guard position == bytes.count || isEnd(bytes[position]) else {
                    throw failure("text follows a quoted field")
                }
            } else {
                let start = position
                while position < bytes.count, !isEnd(bytes[position]) { position += 1 }
                content = Array(bytes[start..<position])
                while content.last == 0x20 { content.removeLast() }
                content = Array(content.drop { $0 == 0x20 })
            }
            guard content.count <= limits.textBytes, let text = String(validating: content, as: UTF8.self) else {
                throw failure("a field is not UTF-8 text")
            }
            return text
        }

        private func isEnd(_ byte: UInt8) -> Bool { byte == separator || byte == 0x0A || byte == 0x0D }
    }
}
