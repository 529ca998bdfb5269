import GraftCore
import GraftIR
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// Divides parameters into groups that train at rates of their own.
public enum RateGrouping: Pass {
    /// One step of a division.
    public enum Step: Sendable, Equatable {
        /// A rate for each block: `factor` to the power of its distance from the head, not below `minimum`.
        ///
        /// With L layers counted as the blocks and the head, the layer i (from 0 at the input) gets
        /// `max(minimum, factor^(L-1-i))`; the head gets 1. This is timm's layer decay with blocks as its layers.
        case decay(Double, minimum: Double)
        /// A rate for what a selector names.
        case set(Selector, multiplier: Double)
        /// A weight decay for what a selector names; nil for that of the run.
        case weightDecay(Selector, Double?)
        /// No groups.
        case clear
    }

    /// What is done, in order.
    public struct Options: Sendable, Equatable {
        /// The steps.
        public var steps: [Step]
        /// Whether biases, normalizations and other vectors get groups without weight decay.
        public var exemptsVectors: Bool

        /// Some steps.
        public init(_ steps: [Step], exemptsVectors: Bool = true) {
            self.steps = steps
            self.exemptsVectors = exemptsVectors
        }
    }

    /// Why groups cannot be made.
    public enum Failure: GraftError, Equatable {
        /// A number is not possible.
        case number(what: String, value: Double, range: String)
        /// There are no blocks whose rates could decay.
        case noBlocks

        /// The exit status of a command that this error ends.
        public var exitStatus: ExitStatus { if case .number = self { .usage } else { .badInput } }
        /// What is wrong, where, and what to do.
        public var description: String {
            switch self {
            case .number(let what, let value, let range): "\(what) must be \(range), not \(value)"
            case .noBlocks: "the model has no blocks with parameters, so there is nothing to decay over"
            }
        }
    }

    /// The name of the pass.
    public static let name = "groups"
    /// What the pass does.
    public static let summary = "Gives parts of a network learning rates of their own."

    /// The patch that divides parameters into groups.
    ///
    /// - Throws: ``SelectorError``, ``Failure``, ``AnnotationError``.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let tree = try LayerTree(model)
        var division = Division(tree: tree)
        if !options.steps.contains(.clear) { division.start(from: try model.annotations()) }
        for step in options.steps { try division.take(step) }
        let words = options.steps.map(\.words).joined(separator: "; ")
        return try record(on: model, details: ["groups": JSON(words)]) { model in
            try model.updateAnnotations { annotations in
                division.write(to: &annotations, exemptsVectors: options.exemptsVectors)
            }
        }
    }
}

extension RateGrouping.Step {
    fileprivate var words: String {
        switch self {
        case .decay(let factor, let minimum): minimum > 0 ? "decay \(factor), at least \(minimum)" : "decay \(factor)"
        case .set(let selector, let multiplier): "\(selector) = \(multiplier)"
        case .weightDecay(let selector, let decay): "weight decay of \(selector) = \(decay.map { "\($0)" } ?? "run")"
        case .clear: "none"
        }
    }
}

/// What each parameter is to have, while steps are taken.
private struct Division {
    private struct Share {
        var group: String
        var multiplier: Double
        var weightDecay: Double?
        var decaySaid: Bool
    }

    private let tree: LayerTree
    private var shares: [ValueID: Share] = [:]

    init(tree: LayerTree) { self.tree = tree }

    mutating func start(from annotations: Annotations) {
        for id in tree.parameters {
            guard let group = annotations.group(of: tree.model.graph[id].name) else { continue }
            let isExempt = group.name.hasSuffix(Self.exempt)
            shares[id] = Share(
                group: isExempt ? String(group.name.dropLast(Self.exempt.count)) : group.name,
                multiplier: group.multiplier, weightDecay: isExempt ? nil : group.weightDecay,
                decaySaid: !isExempt && group.weightDecay != nil)
        }
    }

    /// How the name of a group without weight decay ends.
    private static let exempt = " no-decay"

    mutating func take(_ step: RateGrouping.Step) throws {
        switch step {
        case .clear: shares = [:]
        case .decay(let factor, let minimum):
            guard factor > 0, factor <= 1 else {
                throw RateGrouping.Failure.number(what: "the decay", value: factor, range: "above 0 and at most 1")
            }
            guard minimum >= 0, minimum <= 1 else {
                throw RateGrouping.Failure.number(what: "the least rate", value: minimum, range: "from 0 to 1")
            }
            guard !tree.blocks.isEmpty else { throw RateGrouping.Failure.noBlocks }
            for id in tree.parameters { assign(id, group: "head", multiplier: 1) }
            for (index, block) in tree.blocks.enumerated() {
                let rate = max(minimum, pow(factor, Double(tree.blocks.count - index)))
                for id in block.parameters { assign(id, group: block.name, multiplier: rate) }
            }
        case .set(let selector, let multiplier):
            guard multiplier >= 0, multiplier.isFinite else {
                throw RateGrouping.Failure.number(
                    what: "the rate of \(selector)", value: multiplier, range: "a number of at least 0")
            }
            for id in try tree.select(selector).parameters {
                assign(id, group: selector.description, multiplier: multiplier)
            }
        case .weightDecay(let selector, let decay):
            if let decay, !(decay >= 0 && decay.isFinite) {
                throw RateGrouping.Failure.number(
                    what: "the weight decay of \(selector)", value: decay, range: "a number of at least 0")
            }
            for id in try tree.select(selector).parameters {
                if shares[id] == nil { assign(id, group: "rest", multiplier: 1) }
                shares[id]?.weightDecay = decay
                shares[id]?.decaySaid = true
                if let decay, let share = shares[id] { shares[id]?.group = "\(share.group) decay \(decay)" }
            }
        }
    }

    private mutating func assign(_ id: ValueID, group: String, multiplier: Double) {
        shares[id] = Share(
            group: group, multiplier: multiplier, weightDecay: shares[id]?.weightDecay,
            decaySaid: shares[id]?.decaySaid ?? false)
    }

    func write(to annotations: inout Annotations, exemptsVectors: Bool) {
        let old = annotations.groups
        annotations.groups = [:]
        annotations.groupOfParameter = [:]
        let graph = tree.model.graph
        for id in tree.parameters {
            guard let share = shares[id] else { continue }
            let isVector = !(tree.table[id]?.decays ?? true) || graph.constantTensor(of: id)?.shape.count ?? 2 < 2
            let isExempt = exemptsVectors && isVector && !share.decaySaid
            let name = isExempt ? share.group + Self.exempt : share.group
            var group = RateGroup(
                name, multiplier: share.multiplier, weightDecay: isExempt ? 0 : share.weightDecay)
            group.other = old[name]?.other ?? [:]
            annotations.assign(graph[id].name, to: group)
        }
    }
}
