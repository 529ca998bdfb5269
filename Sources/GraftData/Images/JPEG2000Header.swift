import GraftCore

/// What a JPEG 2000 file (ISO/IEC 15444-1) says before its pixels are decoded: a bare codestream, or one in the boxes of JP2.
struct JPEG2000Header {
    private(set) var width = 0
    private(set) var height = 0
    /// Whether the codestream lies in boxes.
    let isBoxed: Bool

    private let data: BigEndian
    private let source: String

    private var cutOff: ImageError { .truncated(source: source, format: "JPEG 2000") }

    private func damaged(_ reason: String) -> ImageError {
        .damaged(source: source, format: "JPEG 2000", reason: reason)
    }

    /// Reads the size and walks the parts of the picture up to their end mark.
    init(_ bytes: UnsafeRawBufferPointer, source: String, limits: Limits) throws(ImageError) {
        data = BigEndian(bytes: bytes)
        self.source = source
        isBoxed = data.u16(0) != 0xFF4F
        let stream = isBoxed ? try findStream() : 0..<bytes.count
        try readSize(at: stream.lowerBound)
        try Image.checkSize(width: width, height: height, source: source, format: .jpeg2000, limits: limits)
        try walk(stream)
    }

    /// The contents of the box at a position, and its kind.
    private func box(at position: Int, until end: Int) throws(ImageError) -> (kind: Int, content: Range<Int>) {
        guard let length = data.u32(position), let kind = data.u32(position + 4) else { throw cutOff }
        var start = position + 8
        var stop = position + length
        if length == 1 {
            guard let high = data.u32(position + 8), let low = data.u32(position + 12) else { throw cutOff }
            guard high < 1 << 30 else { throw damaged("a box is longer than any file") }
            start = position + 16
            stop = position + (high << 32 | low)
        } else if length == 0 {
            stop = end
        }
        guard stop >= start else { throw damaged("a box has length \(length)") }
        guard stop <= end else { throw cutOff }
        return (kind, start..<stop)
    }

    /// The codestream among the boxes; a palette before it must not widen pixels without bound.
    private func findStream() throws(ImageError) -> Range<Int> {
        var position = 0
        while position < data.bytes.count {
            let (kind, content) = try box(at: position, until: data.bytes.count)
            if kind == Self.code("jp2c") { return content }
            if kind == Self.code("jp2h") { try checkPalette(content) }
            position = content.upperBound
        }
        throw cutOff
    }

    private func checkPalette(_ header: Range<Int>) throws(ImageError) {
        var position = header.lowerBound
        while position < header.upperBound {
            let (kind, content) = try box(at: position, until: header.upperBound)
            if kind == Self.code("pclr"), let columns = data.u8(content.lowerBound + 2), columns > 4 {
                throw .unsupportedFeature(source: source, feature: "JPEG 2000 with a palette of \(columns) channels")
            }
            position = content.upperBound
        }
    }

    private static func code(_ name: StaticString) -> Int {
        name.withUTF8Buffer { $0.reduce(0) { $0 << 8 | Int($1) } }
    }

    /// The segment SIZ, which must come first.
    private mutating func readSize(at start: Int) throws(ImageError) {
        guard let first = data.u16(start), let marker = data.u16(start + 2), let right = data.u32(start + 8),
            let bottom = data.u32(start + 12), let left = data.u32(start + 16), let top = data.u32(start + 20),
            let components = data.u16(start + 40)
        else { throw cutOff }
        guard first == 0xFF4F, marker == 0xFF51, right > left, bottom > top else {
            throw damaged("it does not start with the size of the picture")
        }
        guard (1...4).contains(components) else {
            throw .unsupportedFeature(source: source, feature: "JPEG 2000 with \(components) channels")
        }
        (width, height) = (right - left, bottom - top)
    }

    /// Follows the lengths of all segments and tile parts.
    private func walk(_ stream: Range<Int>) throws(ImageError) {
        var position = stream.lowerBound + 2
        while true {
            guard position + 2 <= stream.upperBound, let marker = data.u16(position) else { throw cutOff }
            switch marker {
            case 0xFFD9: return
            case 0xFF90:
                guard let length = data.u32(position + 6) else { throw cutOff }
                if length == 0 {
                    // The last part may leave its length out.
                    guard data.u16(stream.upperBound - 2) == 0xFFD9 else { throw cutOff }
                    return
                }
                guard length >= 14 else { throw damaged("a part of a tile has length \(length)") }
                position += length
            default:
                guard let length = data.u16(position + 2) else { throw cutOff }
                guard marker >= 0xFF00, length >= 2 else { throw damaged("a segment at byte \(position) is none") }
                position += length + 2
            }
        }
    }
}
