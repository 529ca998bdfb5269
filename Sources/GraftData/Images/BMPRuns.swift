import GraftCore

/// The pixels of BMP pictures that are stored as run lengths.
enum BMPRuns {
    /// The palette's index of each pixel, rows from the top; pixels that no run names have index 0.
    ///
    /// Rows are stored from the bottom. Runs that leave their row or the picture are cut there.
    ///
    /// - Parameter bits: 8, or 4 for two indices in a byte.
    static func indices(
        _ bytes: UnsafeRawBufferPointer, from start: Int, width: Int, height: Int, bits: Int, source: String
    ) throws(ImageError) -> [UInt8] {
        let data = LittleEndian(bytes: bytes)
        var result = [UInt8](repeating: 0, count: width * height)
        var (position, x, y) = (start, 0, 0)
        func put(_ value: UInt8) {
            if x < width, y < height { result[(height - 1 - y) * width + x] = value }
            x += 1
        }
        while true {
            guard let count = data.u8(position), let value = data.u8(position + 1) else {
                // Only the mark at the end may be missing.
                guard y >= height || y == height - 1 && x >= width else {
                    throw .truncated(source: source, format: "BMP")
                }
                return result
            }
            position += 2
            switch (count, value) {
            case (0, 0): (x, y) = (0, y + 1)
            case (0, 1): return result
            case (0, 2):
                guard let right = data.u8(position), let up = data.u8(position + 1) else {
                    throw .truncated(source: source, format: "BMP")
                }
                (x, y) = (x + right, y + up)
                position += 2
            case (0, _):
                let length = (value * bits + 7) / 8
                guard position <= bytes.count - length else { throw .truncated(source: source, format: "BMP") }
                for index in 0..<value { put(nibble(bytes[position + index * bits / 8], index, bits)) }
                position += length + length % 2
            default: for index in 0..<count { put(nibble(UInt8(value), index, bits)) }
            }
        }
    }

    /// The index of a pixel of a run in the byte that holds it.
    private static func nibble(_ byte: UInt8, _ index: Int, _ bits: Int) -> UInt8 {
        bits == 8 ? byte : index % 2 == 0 ? byte >> 4 : byte & 15
    }
}
