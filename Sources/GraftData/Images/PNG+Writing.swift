import GraftCore
import GraftWeights

/// Colours of classes, for masks.
public enum ClassPalette {
    /// The colour of a class: black for class 0, white for "does not count" (255), distinct colours otherwise.
    ///
    /// The bits of the number, in groups of three from the lowest, set the bits of red, green and blue from the highest:
    /// the palette that PASCAL VOC uses, so that other tools show masks alike.
    public static func colour(of index: Int) -> [UInt8] {
        if index == Mask.ignored { return [224, 224, 192] }
        var (rest, colour) = (index, [UInt8](repeating: 0, count: 3))
        for place in 0..<8 {
            for channel in 0..<3 where rest >> channel & 1 == 1 { colour[channel] |= 0x80 >> UInt8(place) }
            rest >>= 3
        }
        return colour
    }
}

extension Image {
    /// Writes the picture as a PNG file.
    ///
    /// - Parameter hasPalette: whether a gray picture's values are classes, which get ``ClassPalette``'s colours.
    /// - Throws: ``FileError`` where the file cannot be written.
    public func writePNG(to path: String, hasPalette: Bool = false) throws {
        guard let bytes = png(hasPalette: hasPalette) else {
            throw FileError.cannotWrite(path: path, reason: "there is not enough memory")
        }
        try AtomicFile.write(bytes, to: path)
    }

    /// The bytes of a PNG file with the picture; nil where memory runs out.
    ///
    /// - Parameter hasPalette: whether a gray picture's values are classes, which get ``ClassPalette``'s colours.
    public func png(hasPalette: Bool = false) -> [UInt8]? {
        var bytes: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        func append(_ kind: String, _ content: [UInt8]) {
            let body = Array(kind.utf8) + content
            bytes += Self.bigEndian(content.count)
            bytes += body
            bytes += Self.bigEndian(Int(body.withUnsafeBytes { CRC32.checksum($0) }))
        }
        let isIndexed = hasPalette && channels == 1
        append(
            "IHDR",
            Self.bigEndian(width) + Self.bigEndian(height) + [8, isIndexed ? 3 : channels == 1 ? 0 : 2, 0, 0, 0])
        if isIndexed { append("PLTE", (0..<256).flatMap { ClassPalette.colour(of: $0) }) }
        var rows: [UInt8] = []
        rows.reserveCapacity(height * (rowBytes + 1))
        for y in 0..<height {
            rows.append(0)
            rows += pixels[(y * rowBytes)..<((y + 1) * rowBytes)]
        }
        guard let packed = ZlibStream.compress(rows) else { return nil }
        append("IDAT", packed)
        append("IEND", [])
        return bytes
    }

    private static func bigEndian(_ value: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }
}
