/// How a camera was held: the values of EXIF tag 0x0112.
enum Orientation: Int {
    case upright = 1
    case mirrored = 2
    case halfTurn = 3
    case upsideDownMirrored = 4
    case transposed = 5
    case quarterTurnLeft = 6
    case transverse = 7
    case quarterTurnRight = 8

    /// Finds the orientation in EXIF data (a TIFF structure); upright where there is none or the data is damaged.
    static func parse(_ exif: UnsafeRawBufferPointer) -> Orientation {
        guard exif.count >= 8 else { return .upright }
        let isLittle = exif[0] == 0x49
        guard exif[0] == exif[1], isLittle || exif[0] == 0x4D else { return .upright }
        func u16(_ offset: Int) -> Int? {
            guard offset >= 0, offset + 2 <= exif.count else { return nil }
            let (a, b) = (Int(exif[offset]), Int(exif[offset + 1]))
            return isLittle ? b << 8 | a : a << 8 | b
        }
        func u32(_ offset: Int) -> Int? {
            guard let a = u16(offset), let b = u16(offset + 2) else { return nil }
            return isLittle ? b << 16 | a : a << 16 | b
        }
        guard u16(2) == 42, let directory = u32(4), let count = u16(directory) else { return .upright }
        for entry in 0..<count {
            let offset = directory + 2 + 12 * entry
            guard let tag = u16(offset), let type = u16(offset + 2) else { break }
            guard tag == 0x0112 else { continue }
            let value = type == 4 ? u32(offset + 8) : type == 3 ? u16(offset + 8) : nil
            return value.flatMap(Orientation.init(rawValue:)) ?? .upright
        }
        return .upright
    }
}

extension Image {
    /// The picture turned and mirrored so that it is upright.
    func upright(_ orientation: Orientation) -> Image {
        switch orientation {
        case .upright: self
        case .mirrored: flippedHorizontally()
        case .halfTurn: rearranged(width: width, height: height) { x, y in (width - 1 - x, height - 1 - y) }
        case .upsideDownMirrored: rearranged(width: width, height: height) { x, y in (x, height - 1 - y) }
        case .transposed: rearranged(width: height, height: width) { x, y in (y, x) }
        case .quarterTurnLeft: rearranged(width: height, height: width) { x, y in (y, height - 1 - x) }
        case .transverse: rearranged(width: height, height: width) { x, y in (width - 1 - y, height - 1 - x) }
        case .quarterTurnRight: rearranged(width: height, height: width) { x, y in (width - 1 - y, x) }
        }
    }

    /// The picture with left and right exchanged.
    public func flippedHorizontally() -> Image {
        rearranged(width: width, height: height) { x, y in (width - 1 - x, y) }
    }

    /// A picture whose pixel at (x, y) is this one's at `place(x, y)`, which must lie within it.
    @inline(__always)
    private func rearranged(width newWidth: Int, height newHeight: Int, _ place: (Int, Int) -> (Int, Int)) -> Image {
        Image(width: newWidth, height: newHeight, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                var written = 0
                for y in 0..<newHeight {
                    for x in 0..<newWidth {
                        let (sourceX, sourceY) = place(x, y)
                        let read = (sourceY * width + sourceX) * channels
                        for c in 0..<channels { target[written + c] = source[read + c] }
                        written += channels
                    }
                }
            }
        }
    }
}
