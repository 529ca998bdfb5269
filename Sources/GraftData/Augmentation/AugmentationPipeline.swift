import GraftCore
import OrderedCollections

/// The random changes that training pictures go through, in order.
///
/// What happens to a picture depends on (seed, epoch, sample, step) only: any thread, any order and a resumed run give
/// the same picture.
public struct AugmentationPipeline: Sendable {
    /// Every kind of augmentation.
    public static let kinds: [any Augmentation.Type] = [
        RandomResizedCrop.self, PaddedCrop.self, HorizontalFlip.self, ColourJitter.self, Rotation.self,
        RandomErasing.self,
    ]

    /// The steps; one that sets the size comes first.
    public let steps: [any Augmentation]

    /// A pipeline of the given steps; the one that sets the size is moved to the front.
    ///
    /// - Throws: ``AugmentationError/severalCrops(_:_:)``.
    public init(_ steps: [any Augmentation]) throws(AugmentationError) {
        let crops = steps.filter { type(of: $0).setsSize }
        if crops.count > 1 {
            throw .severalCrops(type(of: crops[0]).name, type(of: crops[1]).name)
        }
        self.steps = crops + steps.filter { !type(of: $0).setsSize }
    }

    /// Reads what a recipe says: a list of names, or of objects with `name` and parameters.
    ///
    /// - Throws: ``AugmentationError``.
    public init(json: JSON) throws(AugmentationError) {
        let entries = json.isNull ? [] : json.array ?? [json]
        var steps: [any Augmentation] = []
        for entry in entries {
            var members = entry.object ?? [:]
            guard let name = entry.string ?? members.removeValue(forKey: "name")?.string else {
                throw .unknown(name: entry.text(), suggestion: " A name, or an object with \"name\", was expected.")
            }
            guard let kind = Self.kinds.first(where: { $0.name == name }) else {
                let names = Self.kinds.map { $0.name }
                throw .unknown(
                    name: name,
                    suggestion: "\(Suggestion.sentence(name, in: names)) Known are \(names.joined(separator: ", ")).")
            }
            steps.append(try kind.init(AugmentationParameters(augmentation: name, members: members)))
        }
        try self.init(steps)
    }

    /// The steps with all parameters, as ``init(json:)`` reads them.
    public var json: JSON {
        JSON(
            steps.map { step in
                var members: OrderedDictionary<String, JSON> = ["name": JSON(type(of: step).name)]
                for (key, value) in step.parameters { members[key] = value }
                return .object(members)
            })
    }

    /// The mask of a picture that ``apply(_:for:seed:epoch:sample:)`` changes.
    func apply(toMask mask: Image, for preprocessing: Preprocessing, seed: UInt64, epoch: Int, sample: Int) -> Image {
        var mask = mask
        if !steps.contains(where: { type(of: $0).setsSize }) { mask = preprocessing.sized(mask: mask) }
        for (index, step) in steps.enumerated() {
            var random = CounterRandom(
                seed: seed, UInt64(epoch), UInt64(sample), UInt64(index), CounterRandom.word(type(of: step).name))
            mask = step.apply(toMask: mask, for: preprocessing, random: &random)
        }
        return mask
    }

    /// A picture as training sees it in one epoch, at the model's size.
    func apply(_ image: Image, for preprocessing: Preprocessing, seed: UInt64, epoch: Int, sample: Int) -> Image {
        var image = preprocessing.inModelChannels(image)
        if !steps.contains(where: { type(of: $0).setsSize }) { image = preprocessing.sized(image) }
        for (index, step) in steps.enumerated() {
            var random = CounterRandom(
                seed: seed, UInt64(epoch), UInt64(sample), UInt64(index), CounterRandom.word(type(of: step).name))
            image = step.apply(image, for: preprocessing, random: &random)
        }
        return image
    }
}
