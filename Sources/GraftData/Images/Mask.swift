import GraftCore

/// Pictures whose pixels are classes.
public enum Mask {
    /// The value of pixels that do not count.
    public static let ignored = 255

    /// Reads a PNG file whose palette indices or gray values are classes, as a picture of one channel.
    ///
    /// Gray values of fewer than 8 bits are not scaled.
    /// - Throws: ``FileError`` or ``ImageError``.
    public static func read(path: String, limits: Limits = Limits()) throws -> Image {
        let file = try MappedFile(path: path)
        return try withExtendedLifetime(file) {
            guard case .known(.png) = ImageFormat.detect(file.bytes) else {
                throw ImageError.damaged(
                    source: path, format: "mask", reason: "masks are PNG files, whose pixels survive as they are")
            }
            return try PNG.decodeIndices(file.bytes, source: path, limits: limits)
        }
    }

    /// The classes of a mask: how often each value stands in it.
    static func histogram(_ mask: Image) -> [Int] {
        var counts = [Int](repeating: 0, count: 256)
        for value in mask.pixels { counts[Int(value)] += 1 }
        return counts
    }
}

extension Preprocessing {
    /// A mask at the model's size, placed as the contract places pictures; nothing is mixed, and what lies outside does
    /// not count.
    func sized(mask: Image) -> Image {
        let plan = Placement(of: mask, in: self)
        return mask.resized(width: plan.width, height: plan.height, filter: .nearest).cropped(
            x: plan.x, y: plan.y, width: width, height: height,
            fill: [UInt8](repeating: UInt8(Mask.ignored), count: 3))
    }

    /// A mask of the model's size on a picture of any size; what the model did not see does not count.
    public func restored(mask: Image, width: Int, height: Int) -> Image {
        precondition(mask.width == self.width && mask.height == self.height && mask.channels == 1)
        let plan = Placement(width: width, height: height, in: self)
        return Image(width: width, height: height, channels: 1) { target in
            for y in 0..<height {
                let row = Int((Double(y) + 0.5) * Double(plan.height) / Double(height)) - plan.y
                for x in 0..<width {
                    let column = Int((Double(x) + 0.5) * Double(plan.width) / Double(width)) - plan.x
                    let isInside = row >= 0 && row < self.height && column >= 0 && column < self.width
                    target[y * width + x] =
                        isInside ? mask.pixels[row * self.width + column] : UInt8(Mask.ignored)
                }
            }
        }
    }
}

extension Image {
    /// The picture with classes shown as colours over it, half and half; pixels that do not count and class 0 stay.
    ///
    /// - Precondition: `mask` has the picture's size and one channel.
    public func overlaid(with mask: Image) -> Image {
        precondition(mask.width == width && mask.height == height && mask.channels == 1)
        var result = rgb
        for (index, value) in mask.pixels.enumerated() where value != 0 && Int(value) != Mask.ignored {
            let colour = ClassPalette.colour(of: Int(value))
            for c in 0..<3 {
                result.pixels[3 * index + c] = UInt8((Int(result.pixels[3 * index + c]) + Int(colour[c]) + 1) / 2)
            }
        }
        return result
    }
}
