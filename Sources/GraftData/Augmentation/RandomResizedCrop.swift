import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// A random part of the picture with random proportions, resized to the model's size: torchvision's rule.
///
/// Ten tries to draw an area (a share of the picture's) and proportions (log-uniform) that fit; otherwise the largest
/// centred part with allowed proportions.
public struct RandomResizedCrop: Augmentation {
    /// The name in recipes.
    public static let name = "crop"
    /// What it does, in one line.
    public static let summary = "a random part of random proportions, at the model's size"
    /// It brings pictures to the model's size.
    public static let setsSize = true

    /// The least and greatest share of the picture's area.
    public var scale: ClosedRange<Double>
    /// The least and greatest width divided by height.
    public var ratio: ClosedRange<Double>

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("scale", "ratio")
        scale = try parameters.range("scale", default: 0.08...1, in: 0.001...1)
        ratio = try parameters.range("ratio", default: (3.0 / 4)...(4.0 / 3), in: 0.01...100)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> {
        [
            "scale": [JSON(scale.lowerBound), JSON(scale.upperBound)],
            "ratio": [JSON(ratio.lowerBound), JSON(ratio.upperBound)],
        ]
    }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        let part = part(width: image.width, height: image.height, random: &random)
        return preprocessing.resized(
            image, width: preprocessing.width, height: preprocessing.height,
            box: ImageBox(x: part.x, y: part.y, width: part.width, height: part.height))
    }

    /// The same part of the mask; nothing is mixed.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        let part = part(width: mask.width, height: mask.height, random: &random)
        return mask.resized(
            width: preprocessing.width, height: preprocessing.height, filter: .nearest,
            box: ImageBox(x: part.x, y: part.y, width: part.width, height: part.height))
    }

    /// The part of a picture of the given size that is drawn.
    package func part(width: Int, height: Int, random: inout CounterRandom) -> (x: Int, y: Int, width: Int, height: Int)
    {
        let area = Double(width) * Double(height)
        for _ in 0..<10 {
            let target = area * random.number(in: scale)
            let proportion = exp(random.number(in: log(ratio.lowerBound)...log(ratio.upperBound)))
            let w = Int((target * proportion).squareRoot().rounded(.toNearestOrEven))
            let h = Int((target / proportion).squareRoot().rounded(.toNearestOrEven))
            if w > 0, w <= width, h > 0, h <= height {
                return (random.below(width - w + 1), random.below(height - h + 1), w, h)
            }
        }
        var (w, h) = (width, height)
        let proportion = Double(width) / Double(height)
        if proportion < ratio.lowerBound {
            h = min(height, max(1, Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven))))
        } else if proportion > ratio.upperBound {
            w = min(width, max(1, Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven))))
        }
        return ((width - w) / 2, (height - h) / 2, w, h)
    }
}
