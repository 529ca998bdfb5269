import GraftCore
import OrderedCollections

/// Left and right exchanged with some probability.
public struct HorizontalFlip: Augmentation {
    /// The name in recipes.
    public static let name = "flip"
    /// What it does, in one line.
    public static let summary = "left and right exchanged in half of the cases"

    /// How often.
    public var probability: Double

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("probability")
        probability = try parameters.number("probability", default: 0.5, in: 0...1)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> { ["probability": JSON(probability)] }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        random.uniformDouble() < probability ? image.flippedHorizontally() : image
    }

    /// The mask, exchanged with its picture.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        apply(mask, for: preprocessing, random: &random)
    }
}
