/// A picture in memory: rows from the top, pixels from the left, channels interleaved, 8 bits each.
public struct Image: Sendable, Equatable {
    /// The number of pixels in a row.
    public let width: Int
    /// The number of rows.
    public let height: Int
    /// The number of channels: 1 for gray, 3 for red, green and blue.
    public let channels: Int
    /// `height * width * channels` values.
    public internal(set) var pixels: [UInt8]

    /// A picture with the given pixels.
    ///
    /// - Precondition: there are `height * width * channels` values, the sides are positive, and 1 or 3 channels.
    public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
        precondition(width > 0 && height > 0 && (channels == 1 || channels == 3))
        precondition(pixels.count == width * height * channels)
        self.width = width
        self.height = height
        self.channels = channels
        self.pixels = pixels
    }

    /// A picture whose pixels `body` fills in.
    init(
        width: Int, height: Int, channels: Int, filling body: (UnsafeMutableBufferPointer<UInt8>) throws -> Void
    ) rethrows {
        precondition(width > 0 && height > 0 && (channels == 1 || channels == 3))
        self.width = width
        self.height = height
        self.channels = channels
        let count = width * height * channels
        pixels = try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            try body(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// The number of bytes in a row.
    var rowBytes: Int { width * channels }
}

extension Image {
    /// The picture with red, green and blue; gray values are repeated.
    public var rgb: Image {
        guard channels == 1 else { return self }
        return Image(width: width, height: height, channels: 3) { target in
            for (i, value) in pixels.enumerated() {
                target[3 * i] = value
                target[3 * i + 1] = value
                target[3 * i + 2] = value
            }
        }
    }

    /// The picture in gray, by Pillow's integer form of ITU-R BT.601: `0.299 R + 0.587 G + 0.114 B`.
    public var gray: Image {
        guard channels == 3 else { return self }
        return Image(width: width, height: height, channels: 1) { target in
            pixels.withUnsafeBufferPointer { source in
                for i in target.indices {
                    let (r, g, b) = (UInt32(source[3 * i]), UInt32(source[3 * i + 1]), UInt32(source[3 * i + 2]))
                    target[i] = UInt8(truncatingIfNeeded: (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16)
                }
            }
        }
    }
}
