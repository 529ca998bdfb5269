import GraftCore
import OrderedCollections

/// Left and right exchanged with some probability.
public struct HorizontalFlip: Augmentation {
    public static let name = "flip"
    public static let summary = "left and right exchanged in half of the cases"

    /// How often.
    public var probability: Double

    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("probability")
        probability = try parameters.number("probability", default: 0.5, in: 0...1)
    }

    public var parameters: OrderedDictionary<String, JSON> { ["probability": JSON(probability)] }

    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        random.uniformDouble() < probability ? image.flippedHorizontally() : image
    }
}
