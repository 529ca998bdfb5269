import GraftCore
import GraftIR
import GraftRuntime

/// How far the outputs of two models are apart on the same inputs.
public struct OutputParity: Sendable {
    /// One output of both models.
    public struct Entry: Sendable {
        /// The name in the first model.
        public let name: String
        /// The shape of the first model's output.
        public let shape: [Int]
        /// How far the two are apart.
        public let comparison: ArrayComparison
    }

    /// The outputs, in the first model's order.
    public let entries: [Entry]

    /// The largest difference relative to an output's scale; infinite where outputs are missing or of other shapes.
    public var largestRelativeDifference: Double {
        entries.map(\.comparison.relativeDifference).max() ?? .infinity
    }

    /// A comparison that was made output by output.
    package init(entries: [Entry]) { self.entries = entries }

    /// Runs both models on the same inputs.
    ///
    /// Inputs and outputs are matched by name where the names agree, else by position.
    /// - Parameter inputs: what to run on, by the first model's names; probe inputs where nil.
    /// - Throws: what planning or running throws.
    public init(_ first: Model, _ second: Model, inputs: [String: Tensor]? = nil) throws {
        try self.init(ReferenceRun(first, inputs: inputs), second)
    }

    /// Runs a model on the inputs of a run that has taken place.
    ///
    /// - Throws: what planning or running throws.
    public init(_ reference: ReferenceRun, _ second: Model) throws {
        let plan = try Plan(second, options: .forComparison)
        var inputs: [String: Tensor] = [:]
        for (a, b) in Self.pairs(reference.inputNames, plan.inputs.map(\.name)) { inputs[b] = reference.inputs[a] }
        let actual = try Session(plan).run(inputs)
        entries = try Self.pairs(reference.outputNames, plan.outputs.map(\.name)).compactMap { a, b in
            guard let x = reference.outputs[a], let y = actual[b] else { return nil }
            return Entry(name: a, shape: x.shape, comparison: try ArrayComparison(x, y))
        }
    }

    /// Which of two lists of names belong together.
    private static func pairs(_ first: [String], _ second: [String]) -> [(String, String)] {
        let known = Set(second)
        if first.allSatisfy({ known.contains($0) }) { return first.map { ($0, $0) } }
        return Array(zip(first, second))
    }
}

/// What a model answered on some inputs.
public struct ReferenceRun: Sendable {
    let inputNames: [String]
    let outputNames: [String]
    let inputs: [String: Tensor]
    let outputs: [String: Tensor]

    /// What is known to be the answer, in order.
    public init(inputs: [(name: String, tensor: Tensor)], outputs: [(name: String, tensor: Tensor)]) {
        inputNames = inputs.map(\.name)
        outputNames = outputs.map(\.name)
        self.inputs = Dictionary(inputs.map { ($0.name, $0.tensor) }) { first, _ in first }
        self.outputs = Dictionary(outputs.map { ($0.name, $0.tensor) }) { first, _ in first }
    }

    /// The same answer under other names, by position; missing names stay.
    public func renamed(inputs: [String], outputs: [String]) -> ReferenceRun {
        func pairs(_ old: [String], _ new: [String], _ tensors: [String: Tensor]) -> [(name: String, tensor: Tensor)] {
            old.enumerated().compactMap { index, name in
                tensors[name].map { (index < new.count ? new[index] : name, $0) }
            }
        }
        return ReferenceRun(
            inputs: pairs(inputNames, inputs, self.inputs), outputs: pairs(outputNames, outputs, self.outputs))
    }

    /// Runs a model.
    ///
    /// - Parameter inputs: what to run on; probe inputs where nil.
    /// - Throws: what planning or running throws.
    public init(_ model: Model, inputs: [String: Tensor]? = nil) throws {
        let given = try inputs ?? ProbeInputs.make(for: model)
        let plan = try Plan(model, options: .forComparison)
        inputNames = plan.inputs.map(\.name)
        outputNames = plan.outputs.map(\.name)
        self.inputs = given
        outputs = try Session(plan).run(given)
    }
}

/// Inputs that models are compared on: made from a seed, the same on every machine.
public enum ProbeInputs {
    /// Tensors for every input of a model that has no default.
    ///
    /// Unknown extents become `batch` on the first axis and a size that image and sequence models accept elsewhere.
    /// Floating-point inputs are uniform in [−1, 1], integers are small and not negative.
    /// - Throws: ``ProbeError`` where an input's element type has no probe.
    public static func make(for model: Model, seed: UInt64 = 1, batch: Int = 2) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        var symbols: [String: Int] = [:]
        // What names the first axis of one input may be another axis of an input before it.
        for id in model.graph.inputs {
            guard case .symbol(let name)? = model.graph[id].shape?.dimensions.first?.extent, !name.isEmpty else {
                continue
            }
            symbols[name] = batch
        }
        for id in model.graph.inputs where model.graph[id].initializer == nil {
            let value = model.graph[id]
            let dimensions = value.shape?.dimensions ?? []
            let shape = dimensions.enumerated().map { index, dimension -> Int in
                switch dimension.extent {
                case .fixed(let count) where count > 0: return count
                case .symbol(let name) where !name.isEmpty:
                    let extent = symbols[name] ?? Self.extent(index, rank: dimensions.count, batch: batch)
                    symbols[name] = extent
                    return extent
                default: return Self.extent(index, rank: dimensions.count, batch: batch)
                }
            }
            var generator = CounterRandom(seed: seed, CounterRandom.word(value.name))
            result[value.name] = try tensor(value, shape: shape, generator: &generator)
        }
        return result
    }

    private static func extent(_ index: Int, rank: Int, batch: Int) -> Int {
        index == 0 ? batch : rank >= 4 ? 64 : 16
    }

    private static func tensor(_ value: Value, shape: [Int], generator: inout CounterRandom) throws -> Tensor {
        let count = Checked.product(shape) ?? 0
        guard count < 1 << 28 else { throw ProbeError.tooLarge(name: value.name, shape: shape) }
        switch value.elementType ?? .float32 {
        case .float32: return Tensor((0..<count).map { _ in generator.uniform() * 2 - 1 }, shape: shape)
        case .float64: return Tensor((0..<count).map { _ in generator.uniformDouble() * 2 - 1 }, shape: shape)
        case .uint8: return Tensor((0..<count).map { _ in UInt8(generator.below(256)) }, shape: shape)
        case .int8: return Tensor((0..<count).map { _ in Int8(generator.below(100)) }, shape: shape)
        case .int32: return Tensor((0..<count).map { _ in Int32(generator.below(4)) }, shape: shape)
        case .int64: return Tensor((0..<count).map { _ in Int64(generator.below(4)) }, shape: shape)
        case .bool: return Tensor((0..<count).map { _ in generator.below(2) == 1 }, shape: shape)
        case let type: throw ProbeError.unsupportedType(name: value.name, type: type)
        }
    }
}

/// Why a model cannot be probed.
public enum ProbeError: GraftError, Equatable {
    /// There is no probe for the element type.
    case unsupportedType(name: String, type: ElementType)
    /// The input is too large to make up.
    case tooLarge(name: String, shape: [Int])

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .unsupportedType(let name, let type):
            "the input \"\(name)\" is \(type.name), for which there are no probe inputs; use --no-verify"
        case .tooLarge(let name, let shape):
            "the input \"\(name)\" of shape \(shape) is too large to probe; use --no-verify"
        }
    }
}
