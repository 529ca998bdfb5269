import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// The picture turned about its centre by a random angle; its border pixels fill the corners.
public struct Rotation: Augmentation {
    /// The name in recipes.
    public static let name = "rotate"
    /// What it does, in one line.
    public static let summary = "turned by up to `degrees` to either side"

    /// The greatest angle.
    public var degrees: Double

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("degrees")
        degrees = try parameters.number("degrees", default: 10, in: 0...180)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> { ["degrees": JSON(degrees)] }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        image.rotated(degrees: random.number(in: -degrees...degrees))
    }
}

extension Rotation {
    /// The mask, turned alike; nothing is mixed, its border pixels fill the corners.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        mask.rotated(degrees: random.number(in: -degrees...degrees), mixes: false)
    }
}

extension Image {
    /// The picture turned counterclockwise about its centre, its borders continued outwards.
    ///
    /// - Parameter mixes: whether pixels are mixed (bilinear); otherwise the nearest is taken.
    func rotated(degrees: Double, mixes: Bool = true) -> Image {
        let angle = Float(degrees * Double.pi / 180)
        let (sine, cosine) = (sin(angle), cos(angle))
        let (centreX, centreY) = (Float(width - 1) / 2, Float(height - 1) / 2)
        return Image(width: width, height: height, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                var written = 0
                for y in 0..<height {
                    for x in 0..<width {
                        let (dx, dy) = (Float(x) - centreX, Float(y) - centreY)
                        var sourceX = max(0, min(Float(width - 1), centreX + cosine * dx - sine * dy))
                        var sourceY = max(0, min(Float(height - 1), centreY + sine * dx + cosine * dy))
                        if !mixes { (sourceX, sourceY) = (sourceX.rounded(), sourceY.rounded()) }
                        let (left, top) = (Int(sourceX), Int(sourceY))
                        let (right, bottom) = (min(left + 1, width - 1), min(top + 1, height - 1))
                        let (fractionX, fractionY) = (sourceX - Float(left), sourceY - Float(top))
                        for c in 0..<channels {
                            func value(_ x: Int, _ y: Int) -> Float { Float(source[(y * width + x) * channels + c]) }
                            let upper = value(left, top) + (value(right, top) - value(left, top)) * fractionX
                            let lower = value(left, bottom) + (value(right, bottom) - value(left, bottom)) * fractionX
                            target[written] = UInt8(max(0, min(255, (upper + (lower - upper) * fractionY).rounded())))
                            written += 1
                        }
                    }
                }
            }
        }
    }
}
