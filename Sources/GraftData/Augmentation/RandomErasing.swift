import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// A random rectangle replaced by the colour that the model sees as zero: torchvision's rule.
///
/// Ten tries to draw an area and proportions of a rectangle smaller than the picture in both directions; where none
/// fits, nothing happens.
public struct RandomErasing: Augmentation {
    /// The name in recipes.
    public static let name = "erase"
    /// What it does, in one line.
    public static let summary = "a random rectangle blanked in half of the cases"

    /// How often.
    public var probability: Double
    /// The least and greatest share of the picture's area.
    public var scale: ClosedRange<Double>
    /// The least and greatest height divided by width.
    public var ratio: ClosedRange<Double>

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("probability", "scale", "ratio")
        probability = try parameters.number("probability", default: 0.5, in: 0...1)
        scale = try parameters.range("scale", default: 0.02...0.33, in: 0.001...1)
        ratio = try parameters.range("ratio", default: 0.3...3.3, in: 0.01...100)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> {
        [
            "probability": JSON(probability), "scale": [JSON(scale.lowerBound), JSON(scale.upperBound)],
            "ratio": [JSON(ratio.lowerBound), JSON(ratio.upperBound)],
        ]
    }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        erased(image, with: preprocessing.neutralColour, &random)
    }

    /// The mask; pixels of the rectangle do not count.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        erased(mask, with: [UInt8(Mask.ignored)], &random)
    }

    private func erased(_ image: Image, with colour: [UInt8], _ random: inout CounterRandom) -> Image {
        guard random.uniformDouble() < probability else { return image }
        let area = Double(image.width) * Double(image.height)
        for _ in 0..<10 {
            let target = area * random.number(in: scale)
            let proportion = exp(random.number(in: log(ratio.lowerBound)...log(ratio.upperBound)))
            let height = Int((target * proportion).squareRoot().rounded(.toNearestOrEven))
            let width = Int((target / proportion).squareRoot().rounded(.toNearestOrEven))
            guard height > 0, width > 0, height < image.height, width < image.width else { continue }
            let y = random.below(image.height - height + 1)
            let x = random.below(image.width - width + 1)
            return image.filled(x: x, y: y, width: width, height: height, with: colour)
        }
        return image
    }
}

extension Preprocessing {
    /// The pixel values that become the number 0, or the closest ones, in the picture's order of channels.
    var neutralColour: [UInt8] {
        let colour = mean.map { UInt8(max(0, min(255, ($0 / scale).rounded()))) }
        return channels == .bgr ? colour.reversed() : colour
    }
}

extension Image {
    /// The picture with a rectangle in one colour; a gray picture takes the colour's first value.
    func filled(x: Int, y: Int, width: Int, height: Int, with colour: [UInt8]) -> Image {
        var result = self
        for row in y..<(y + height) {
            for column in x..<(x + width) {
                for c in 0..<channels {
                    result.pixels[(row * self.width + column) * channels + c] = colour[min(c, colour.count - 1)]
                }
            }
        }
        return result
    }
}
