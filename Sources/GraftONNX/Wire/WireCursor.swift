import GraftCore

/// Reads protobuf's wire format from a range of bytes; every read stays in the range.
struct WireCursor {
    /// One field: its number, its wire type and where its value lies.
    struct Field {
        var number: Int
        var wireType: UInt8
        /// The tag and the value with its length.
        var whole: Range<Int>
        /// The value without its length.
        var payload: Range<Int>
    }

    /// What is wrong with the bytes, and where.
    struct Malformation: Error {
        var offset: Int
        var reason: String
    }

    // Invariant: `bytes` covers 0..<range.upperBound at least, and `position` never passes `end`.
    let bytes: UnsafeRawBufferPointer
    var position: Int
    let end: Int

    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    /// The next field, or nil at the end.
    mutating func next() throws(Malformation) -> Field? {
        guard position < end else { return nil }
        let start = position
        let tag = try varint()
        let wireType = UInt8(tag & 7)
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else {
            throw Malformation(offset: start, reason: "a field has the number \(tag >> 3)")
        }
        let number = Int(tag >> 3)
        var payload = position..<position
        switch wireType {
        case 0:
            _ = try varint()
            payload = payload.lowerBound..<position
        case 1, 5:
            let width = wireType == 1 ? 8 : 4
            guard end - position >= width else {
                throw Malformation(offset: start, reason: "field \(number) goes past the end of its message")
            }
            position += width
            payload = payload.lowerBound..<position
        case 2:
            let length = try varint()
            guard length <= UInt64(end - position) else {
                throw Malformation(
                    offset: start, reason: "field \(number) takes \(length) bytes where \(end - position) are left")
            }
            payload = position..<(position + Int(length))
            position = payload.upperBound
        case 3, 4:
            throw Malformation(offset: start, reason: "field \(number) is a group, which ONNX does not have")
        default:
            throw Malformation(offset: start, reason: "field \(number) has the wire type \(wireType)")
        }
        return Field(number: number, wireType: wireType, whole: start..<position, payload: payload)
    }

    /// A number of up to 64 bits.
    mutating func varint() throws(Malformation) -> UInt64 {
        let start = position
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < end {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { throw Malformation(offset: start, reason: "a number takes more than ten bytes") }
        }
        throw Malformation(offset: start, reason: "the bytes end within a number")
    }
}
