import GraftCore

/// PNM pictures, the formats of Netpbm: PBM (black and white), PGM (gray) and PPM (colours), as bytes or as text.
enum PNM {
    private enum Kind: Int {
        case bitmapText = 1
        case grayText, colourText, bitmap, gray, colour

        var channels: Int { self == .colour || self == .colourText ? 3 : 1 }
        var isBitmap: Bool { self == .bitmap || self == .bitmapText }
        var isText: Bool { rawValue <= 3 }
    }

    private struct Header {
        let kind: Kind
        let width: Int
        let height: Int
        /// What stands for white.
        let white: Int
        /// Where the pixels start.
        let start: Int

        var count: Int { width * height * kind.channels }
        /// The bytes of the pixels, where they are not text.
        var byteCount: Int {
            kind == .bitmap ? (width + 7) / 8 * height : count * (white > 255 ? 2 : 1)
        }
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let header = try header(bytes, source: source, limits: limits)
        let pixels = header.kind.isText ? try text(bytes, header, source: source) : binary(bytes, header)
        return (
            Image(width: header.width, height: header.height, channels: header.kind.channels, pixels: pixels), .upright
        )
    }

    /// Checks the header, and that the pixels are all there where they are not text.
    static func check(_ bytes: UnsafeRawBufferPointer, source: String, limits: Limits) throws(ImageError) {
        _ = try header(bytes, source: source, limits: limits)
    }

    /// Whether bytes start as a header does: a letter, a digit, blanks, then a number or a comment.
    static func starts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 4, bytes[0] == UInt8(ascii: "P"),
            (UInt8(ascii: "1")...UInt8(ascii: "6")).contains(bytes[1]),
            isBlank(bytes[2]), let next = bytes[3...].first(where: { !isBlank($0) })
        else { return false }
        return isDigit(next) || next == UInt8(ascii: "#")
    }

    private static func header(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> Header {
        var words = Words(bytes: bytes, position: 2)
        guard bytes.count > 2, let kind = Kind(rawValue: Int(bytes[1]) - 48) else {
            throw .truncated(source: source, format: "PNM")
        }
        let width = try number(&words, source: source)
        let height = try number(&words, source: source)
        let white = kind.isBitmap ? 1 : try number(&words, source: source)
        guard (1...65535).contains(white) else {
            throw .damaged(source: source, format: "PNM", reason: "its largest value is \(white)")
        }
        try Image.checkSize(width: width, height: height, source: source, format: .pnm, limits: limits)
        // One blank ends the header; what follows may look like one.
        let header = Header(kind: kind, width: width, height: height, white: white, start: words.position + 1)
        guard kind.isText || header.byteCount <= bytes.count - header.start else {
            throw .truncated(source: source, format: "PNM")
        }
        return header
    }

    private static func number(_ words: inout Words, source: String) throws(ImageError) -> Int {
        guard let word = words.next() else { throw .truncated(source: source, format: "PNM") }
        guard let number = Words.number(word) else {
            throw .damaged(source: source, format: "PNM", reason: "a number is missing")
        }
        return number
    }

    private static func binary(_ bytes: UnsafeRawBufferPointer, _ header: Header) -> [UInt8] {
        if header.kind == .bitmap {
            let rowBytes = (header.width + 7) / 8
            return (0..<header.count).map { place in
                let (y, x) = place.quotientAndRemainder(dividingBy: header.width)
                return bytes[header.start + y * rowBytes + x / 8] >> UInt8(7 - x % 8) & 1 == 1 ? 0 : 255
            }
        }
        let levels = levels(upTo: header.white)
        if header.white <= 255 {
            return (0..<header.count).map { levels[min(Int(bytes[header.start + $0]), header.white)] }
        }
        return (0..<header.count).map { place in
            let value = Int(bytes[header.start + 2 * place]) << 8 | Int(bytes[header.start + 2 * place + 1])
            return levels[min(value, header.white)]
        }
    }

    private static func text(
        _ bytes: UnsafeRawBufferPointer, _ header: Header, source: String
    ) throws(ImageError) -> [UInt8] {
        var words = Words(bytes: bytes, position: header.start)
        let levels = levels(upTo: header.white)
        // Each value takes a byte at least, so that a short file reserves no memory.
        guard header.count <= bytes.count else { throw .truncated(source: source, format: "PNM") }
        var result: [UInt8] = []
        result.reserveCapacity(header.count)
        while result.count < header.count {
            // Bits need no blanks between them.
            guard let word = header.kind.isBitmap ? words.nextByte() : words.next() else {
                throw .truncated(source: source, format: "PNM")
            }
            guard let value = Words.number(word), value <= header.white else {
                throw .damaged(source: source, format: "PNM", reason: "pixel value \(result.count) is none")
            }
            result.append(header.kind.isBitmap ? (value == 1 ? 0 : 255) : levels[value])
        }
        return result
    }

    /// The value in 8 bits of each value of a picture, rounded to nearest even.
    private static func levels(upTo white: Int) -> [UInt8] {
        (0...white).map { UInt8((Double($0) / Double(white) * 255).rounded(.toNearestOrEven)) }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    /// What stands between blanks and comments.
    private struct Words {
        let bytes: UnsafeRawBufferPointer
        var position: Int

        private mutating func skip() {
            while position < bytes.count {
                if bytes[position] == UInt8(ascii: "#") {
                    while position < bytes.count, bytes[position] != 10, bytes[position] != 13 { position += 1 }
                } else if isBlank(bytes[position]) {
                    position += 1
                } else {
                    return
                }
            }
        }

        /// The next word; `position` is then behind it.
        mutating func next() -> UnsafeRawBufferPointer.SubSequence? {
            skip()
            let start = position
            while position < bytes.count, !isBlank(bytes[position]), bytes[position] != UInt8(ascii: "#") {
                position += 1
            }
            return position > start ? bytes[start..<position] : nil
        }

        mutating func nextByte() -> UnsafeRawBufferPointer.SubSequence? {
            skip()
            guard position < bytes.count else { return nil }
            position += 1
            return bytes[(position - 1)..<position]
        }

        static func number(_ word: UnsafeRawBufferPointer.SubSequence) -> Int? {
            guard word.count <= 10, word.allSatisfy(isDigit) else { return nil }
            return word.reduce(0) { 10 * $0 + Int($1 - 48) }
        }
    }
}
