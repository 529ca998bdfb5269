import GraftCore
import OrderedCollections

/// Brightness, contrast and saturation changed by random factors, in random order.
///
/// Each factor is uniform in `max(0, 1 - x)...1 + x`. Brightness mixes with black, contrast with the picture's mean gray,
/// saturation with the picture in gray.
public struct ColourJitter: Augmentation {
    /// The name in recipes.
    public static let name = "colour"
    /// What it does, in one line.
    public static let summary = "random brightness, contrast and saturation"

    /// The farthest change of brightness.
    public var brightness: Double
    /// The farthest change of contrast.
    public var contrast: Double
    /// The farthest change of saturation.
    public var saturation: Double

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("brightness", "contrast", "saturation")
        brightness = try parameters.number("brightness", default: 0.2, in: 0...10)
        contrast = try parameters.number("contrast", default: 0.2, in: 0...10)
        saturation = try parameters.number("saturation", default: 0.2, in: 0...10)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> {
        ["brightness": JSON(brightness), "contrast": JSON(contrast), "saturation": JSON(saturation)]
    }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        var result = image
        for change in random.permutation(3) {
            let strength = [brightness, contrast, saturation][change]
            let factor = Float(random.number(in: max(0, 1 - strength)...(1 + strength)))
            if strength == 0 { continue }
            switch change {
            case 0: result = result.mixed(factor) { _ in 0 }
            case 1:
                let gray = result.gray.pixels
                let mean = Float(gray.reduce(0) { $0 + Int($1) }) / Float(gray.count)
                result = result.mixed(factor) { _ in mean.rounded() }
            default:
                let gray = result.gray.pixels
                result = result.mixed(factor) { Float(gray[$0]) }
            }
        }
        return result
    }
}

extension Image {
    /// `other + (pixel - other) * factor`, rounded and clamped, where `other` depends on the pixel's number.
    fileprivate func mixed(_ factor: Float, _ other: (Int) -> Float) -> Image {
        Image(width: width, height: height, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                for pixel in 0..<(width * height) {
                    let base = other(pixel)
                    for c in 0..<channels {
                        let i = pixel * channels + c
                        let value = base + (Float(source[i]) - base) * factor
                        target[i] = UInt8(max(0, min(255, value.rounded())))
                    }
                }
            }
        }
    }
}
