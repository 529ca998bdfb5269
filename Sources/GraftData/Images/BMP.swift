import GraftCore

/// BMP pictures, as Windows and OS/2 write them: palettes, packed and direct colours, run lengths.
enum BMP {
    /// What the headers before the pixels say.
    private struct Header {
        var width: Int
        var height: Int
        /// Whether the first row of the file is the top one.
        var isTopDown: Bool
        var bits: Int
        var packing: Packing
        /// The bits of red, green and blue in a pixel of 16 or 32 bits.
        var masks: [Int] = []
        /// Red, green and blue of each index, for pixels of at most 8 bits.
        var palette: [(UInt8, UInt8, UInt8)] = []
        /// Where the pixels start.
        var start: Int

        /// The bytes of a row whose pixels are not packed, without and with those that fill it up.
        var rowBytes: Int { (width * bits + 7) / 8 }
        var stride: Int { (width * bits + 31) / 32 * 4 }
    }

    private enum Packing { case plain, runs }

    /// The sizes of the second header.
    private static let headerSizes: Set<Int> = [12, 40, 52, 56, 64, 108, 124]

    /// Whether bytes start as the headers do.
    static func starts(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.starts(with: "BM".utf8) && LittleEndian(bytes: bytes).u32(14).map(headerSizes.contains) ?? false
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let header = try header(bytes, source: source, limits: limits)
        if header.packing == .runs {
            let indices = try BMPRuns.indices(
                bytes, from: header.start, width: header.width, height: header.height, bits: header.bits, source: source
            )
            return (coloured(indices, header), .upright)
        }
        try checkLength(bytes, header, source: source)
        if header.bits <= 8 { return (coloured(indices(bytes, header), header), .upright) }
        let channels = header.bits == 24 ? nil : header.masks.map(Channel.init)
        let image = Image(width: header.width, height: header.height, channels: 3) { target in
            for y in 0..<header.height {
                let row = header.start + header.stride * (header.isTopDown ? y : header.height - 1 - y)
                for x in 0..<header.width {
                    let place = 3 * (y * header.width + x)
                    guard let channels else {
                        for c in 0..<3 { target[place + c] = bytes[row + 3 * x + 2 - c] }
                        continue
                    }
                    var pixel = 0
                    for byte in 0..<(header.bits / 8) {
                        pixel |= Int(bytes[row + header.bits / 8 * x + byte]) << (8 * byte)
                    }
                    for c in 0..<3 { target[place + c] = channels[c].value(in: pixel) }
                }
            }
        }
        return (image, .upright)
    }

    /// Checks the headers, and that the pixels are all there.
    static func check(_ bytes: UnsafeRawBufferPointer, source: String, limits: Limits) throws(ImageError) {
        let header = try header(bytes, source: source, limits: limits)
        if header.packing == .plain { try checkLength(bytes, header, source: source) }
    }

    private static func checkLength(
        _ bytes: UnsafeRawBufferPointer, _ header: Header, source: String
    ) throws(ImageError) {
        // What fills up the last row may be missing.
        guard let rows = Checked.product([header.stride, header.height - 1]),
            let end = Checked.sum(header.start, Checked.sum(rows, header.rowBytes) ?? .max), end <= bytes.count
        else { throw .truncated(source: source, format: "BMP") }
    }

    private static func header(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> Header {
        let data = LittleEndian(bytes: bytes)
        let cutOff = ImageError.truncated(source: source, format: "BMP")
        guard let start = data.u32(10), let size = data.u32(14) else { throw cutOff }
        let isCore = size == 12
        guard let width = isCore ? data.u16(18) : data.i32(18), let height = isCore ? data.u16(20) : data.i32(22),
            let bits = data.u16(isCore ? 24 : 28), let packing = isCore ? 0 : data.u32(30),
            let used = isCore ? 0 : data.u32(46)
        else { throw cutOff }
        try Image.checkSize(width: width, height: abs(height), source: source, format: .bmp, limits: limits)
        var header = Header(
            width: width, height: abs(height), isTopDown: height < 0, bits: bits, packing: .plain, start: start)
        switch (packing, bits) {
        case (0, 1), (0, 4), (0, 8), (0, 24): break
        case (0, 16): header.masks = [0x7C00, 0x3E0, 0x1F]
        case (0, 32): header.masks = [0xFF0000, 0xFF00, 0xFF]
        case (1, 8), (2, 4): header.packing = .runs
        case (3, 16) where size != 64, (3, 32) where size != 64, (6, 16), (6, 32):
            // The masks lie in the header, or right behind a header of 40 bytes: the same place.
            guard let red = data.u32(54), let green = data.u32(58), let blue = data.u32(62) else { throw cutOff }
            header.masks = [red, green, blue]
            guard header.masks.allSatisfy(Channel.isContiguous) else {
                throw .damaged(source: source, format: "BMP", reason: "the bits of a colour do not lie together")
            }
        default:
            throw .unsupportedFeature(source: source, feature: "BMP with packing \(packing) and \(bits) bits a pixel")
        }
        if bits <= 8 {
            let count = used == 0 ? 1 << bits : min(used, 1 << bits)
            let width = isCore ? 3 : 4
            for index in 0..<count {
                let entry = 14 + size + width * index
                guard let blue = data.u8(entry), let green = data.u8(entry + 1), let red = data.u8(entry + 2) else {
                    throw cutOff
                }
                header.palette.append((UInt8(red), UInt8(green), UInt8(blue)))
            }
        }
        return header
    }

    /// The bits of one colour in a pixel.
    private struct Channel {
        let shift: Int
        let largest: Int

        init(_ mask: Int) {
            shift = mask == 0 ? 0 : mask.trailingZeroBitCount
            largest = mask >> shift
        }

        static func isContiguous(_ mask: Int) -> Bool {
            let channel = Channel(mask)
            return channel.largest & (channel.largest + 1) == 0
        }

        func value(in pixel: Int) -> UInt8 {
            largest == 0 ? 0 : UInt8(truncatingIfNeeded: (pixel >> shift & largest) * 255 / largest)
        }
    }

    /// The palette's index of each pixel, rows from the top.
    private static func indices(_ bytes: UnsafeRawBufferPointer, _ header: Header) -> [UInt8] {
        let (width, height, bits) = (header.width, header.height, header.bits)
        var result = [UInt8](repeating: 0, count: width * height)
        for y in 0..<height {
            let row = header.start + header.stride * (header.isTopDown ? y : height - 1 - y)
            for x in 0..<width {
                let byte = bytes[row + x * bits / 8]
                let shift = 8 - bits - x * bits % 8
                result[y * width + x] = byte >> UInt8(shift) & UInt8(truncatingIfNeeded: 1 << bits - 1)
            }
        }
        return result
    }

    /// The picture with the palette's colours; in one channel where all of them are gray.
    ///
    /// Indices beyond the palette are black.
    private static func coloured(_ indices: [UInt8], _ header: Header) -> Image {
        let palette = header.palette + Array(repeating: (0, 0, 0), count: 256 - header.palette.count)
        let channels = palette.allSatisfy { $0.0 == $0.1 && $0.1 == $0.2 } ? 1 : 3
        return Image(width: header.width, height: header.height, channels: channels) { target in
            for (place, index) in indices.enumerated() {
                let (red, green, blue) = palette[Int(index)]
                if channels == 1 {
                    target[place] = red
                } else {
                    (target[3 * place], target[3 * place + 1], target[3 * place + 2]) = (red, green, blue)
                }
            }
        }
    }
}
