import GraftCore
import OrderedCollections

/// The picture at the model's size, moved by a few pixels; what comes in from outside is black.
///
/// The usual augmentation of small pictures such as digits and CIFAR, which a ``RandomResizedCrop`` would blur.
public struct PaddedCrop: Augmentation {
    /// The name in recipes.
    public static let name = "shift"
    /// What it does, in one line.
    public static let summary = "moved by up to `padding` of its size, black outside"

    /// The farthest move, as a share of each side.
    public var padding: Double

    /// The change with the given parameters.
    public init(_ parameters: AugmentationParameters) throws(AugmentationError) {
        try parameters.check("padding")
        padding = try parameters.number("padding", default: 0.125, in: 0...1)
    }

    /// The parameters as they are, defaults included.
    public var parameters: OrderedDictionary<String, JSON> { ["padding": JSON(padding)] }

    /// The changed picture.
    public func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        moved(image, fill: [0, 0, 0], &random)
    }

    /// The mask, moved alike; what comes in from outside does not count.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        moved(mask, fill: [UInt8(Mask.ignored)], &random)
    }

    private func moved(_ image: Image, fill: [UInt8], _ random: inout CounterRandom) -> Image {
        let across = Int((Double(image.width) * padding).rounded())
        let down = Int((Double(image.height) * padding).rounded())
        return image.cropped(
            x: random.below(2 * across + 1) - across, y: random.below(2 * down + 1) - down, width: image.width,
            height: image.height, fill: fill)
    }
}
