import GraftCore
import OrderedCollections

/// A random change of a picture that leaves its class as it is.
///
/// Each kind has a file of its own and an entry in ``AugmentationPipeline/kinds``.
public protocol Augmentation: Sendable {
    /// The name in recipes.
    static var name: String { get }
    /// What it does, in one line.
    static var summary: String { get }
    /// Whether it brings a picture of any size to the model's size; such a step replaces the contract's resize.
    static var setsSize: Bool { get }

    /// The change with the given parameters.
    ///
    /// - Throws: ``AugmentationError``.
    init(_ parameters: AugmentationParameters) throws(AugmentationError)

    /// The parameters as they are, defaults included.
    var parameters: OrderedDictionary<String, JSON> { get }

    /// The changed picture; every random number comes from `random`.
    func apply(_ image: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image

    /// The mask that goes with the changed picture: the same places, with the same random numbers.
    func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image
}

extension Augmentation {
    /// Most changes keep the size.
    public static var setsSize: Bool { false }

    /// Changes of colour leave masks as they are.
    public func apply(toMask mask: Image, for preprocessing: Preprocessing, random: inout CounterRandom) -> Image {
        mask
    }
}

/// What can be wrong with an augmentation.
public enum AugmentationError: GraftError, Equatable {
    /// There is no augmentation of this name.
    case unknown(name: String, suggestion: String)
    /// An augmentation has no such parameter.
    case unknownParameter(augmentation: String, parameter: String, suggestion: String)
    /// A parameter is of the wrong kind or out of range.
    case invalid(augmentation: String, parameter: String, reason: String)
    /// Two steps set the size.
    case severalCrops(String, String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .unknown(let name, let suggestion): "there is no augmentation \"\(name)\".\(suggestion)"
        case .unknownParameter(let augmentation, let parameter, let suggestion):
            "augmentation \(augmentation) has no parameter \"\(parameter)\".\(suggestion)"
        case .invalid(let augmentation, let parameter, let reason):
            "augmentation \(augmentation): \(parameter): \(reason)"
        case .severalCrops(let a, let b): "the augmentations \(a) and \(b) both set the size; leave one out"
        }
    }
}

/// The parameters of one augmentation, read with defaults.
public struct AugmentationParameters: Sendable {
    /// The augmentation that they belong to.
    public let augmentation: String
    private let members: OrderedDictionary<String, JSON>

    /// The parameters in `members`.
    public init(augmentation: String, members: OrderedDictionary<String, JSON> = [:]) {
        self.augmentation = augmentation
        self.members = members
    }

    /// Refuses parameters other than `known`.
    public func check(_ known: String...) throws(AugmentationError) {
        for key in members.keys where !known.contains(key) {
            throw .unknownParameter(
                augmentation: augmentation, parameter: key,
                suggestion: known.isEmpty
                    ? "" : Suggestion.sentence(key, in: known) + " Known are \(known.joined(separator: ", ")).")
        }
    }

    /// A number within bounds.
    public func number(_ key: String, default value: Double, in range: ClosedRange<Double>)
        throws(AugmentationError) -> Double
    {
        guard let member = members[key] else { return value }
        guard let number = member.double, range.contains(number) else {
            throw .invalid(
                augmentation: augmentation, parameter: key,
                reason: "a number from \(range.lowerBound) to \(range.upperBound) was expected, found \(member.text())")
        }
        return number
    }

    /// A range written as two numbers, the lower one first.
    public func range(_ key: String, default value: ClosedRange<Double>, in bounds: ClosedRange<Double>)
        throws(AugmentationError) -> ClosedRange<Double>
    {
        guard let member = members[key] else { return value }
        guard let numbers = member.array?.map(\.double), numbers.count == 2, let low = numbers[0],
            let high = numbers[1],
            low <= high, bounds.contains(low), bounds.contains(high)
        else {
            throw .invalid(
                augmentation: augmentation, parameter: key,
                reason: "two numbers from \(bounds.lowerBound) to \(bounds.upperBound), the lower one first, "
                    + "were expected, found \(member.text())")
        }
        return low...high
    }
}

extension CounterRandom {
    /// A number between two bounds.
    mutating func number(in range: ClosedRange<Double>) -> Double {
        range.lowerBound + (range.upperBound - range.lowerBound) * uniformDouble()
    }
}
