import GraftCore
import GraftIR

/// Works batch normalizations into the weights beside them, and on request takes away what computes nothing new.
public enum Fold: Pass {
    /// What is folded.
    public struct Options: Sendable, Equatable {
        /// Whether batch normalizations go into convolutions and matrix products.
        public var batchNorms: Bool
        /// Whether nodes become stored tensors that compute the same small tensor in every run, such as shapes.
        public var constants: Bool
        /// Whether `Identity` and, as it acts outside training, `Dropout` go.
        public var identities: Bool

        /// What is folded.
        public init(batchNorms: Bool = true, constants: Bool = false, identities: Bool = false) {
            self.batchNorms = batchNorms
            self.constants = constants
            self.identities = identities
        }
    }

    /// The name of the pass.
    public static let name = "fold"
    /// What the pass does.
    public static let summary = "Works batch normalizations into the weights beside them."

    /// The patch that folds.
    public static func patch(for model: Model, _ options: Options = Options()) throws -> Patch {
        try record(
            on: model,
            details: [
                "batch_norms": JSON(options.batchNorms), "constants": JSON(options.constants),
                "identities": JSON(options.identities),
            ]
        ) { edited in
            if options.identities {
                edited.graph.visitBodies { graph in Self.removeIdentities(from: &graph) }
            }
            if options.constants { try foldConstants(in: &edited) }
            if options.batchNorms {
                let opset = edited.opset() ?? 1
                try edited.graph.visitBodies { graph in try BatchNormFolding.fold(in: &graph, opset: opset) }
            }
            guard edited.metadata.entries.contains(where: { $0.key.hasPrefix("graft.") }) else { return }
            let names = edited.graph
            try edited.updateAnnotations { annotations in
                annotations.keep(only: { names.value(named: $0) != nil })
            }
        }
    }

    private static func removeIdentities(from graph: inout Graph) {
        for id in graph.order where graph.contains(id) {
            let node = graph[id]
            guard let input = node.inputs.first.flatMap({ $0 }), let output = node.outputs.first.flatMap({ $0 })
            else { continue }
            if node.op.isONNX("Dropout") {
                let isTrained = node.inputs.indices.contains(2) ? node.inputs[2] : nil
                if let isTrained, graph.constantTensor(of: isTrained)?.smallIntegers() != [0] { continue }
                if node.outputs.indices.contains(1), let mask = node.outputs[1], !graph[mask].uses.isEmpty { continue }
            } else if !node.op.isONNX("Identity") {
                continue
            }
            // An output keeps its name, so what makes it has to be free to take it.
            if graph[output].isOutput {
                guard graph[input].producer != nil, !graph[input].isOutput else { continue }
            }
            let spare = node.outputs.dropFirst().compactMap { $0 }
            graph.bypass(id)
            for value in spare where graph.contains(value) && graph[value].uses.isEmpty { graph.removeValue(value) }
        }
    }

    private static func foldConstants(in model: inout Model) throws {
        var source = model
        // A default that a caller may replace is no constant.
        if model.irVersion >= 4 {
            for id in source.graph.inputs where source.graph[id].isInitializer {
                source.graph[id].initializer = nil
            }
        }
        let known = try Inference.inferTypes(of: source)
        foldConstants(in: &model.graph, known, functions: Set(model.functions.map(\.name.canonical)))
    }

    private static func foldConstants(in graph: inout Graph, _ known: InferredTypes, functions: Set<OperatorName>) {
        for id in graph.order where graph.contains(id) {
            for body in graph.bodies(of: id) {
                let key = InferredTypes.Body(node: id, attribute: body.attribute, index: body.index)
                guard let types = known.bodies[key] else { continue }
                var inner = body.graph
                foldConstants(in: &inner, types, functions: functions)
                if inner != body.graph { graph.setBody(inner, of: id, attribute: body.attribute, index: body.index) }
            }
            let node = graph[id]
            let outputs = node.outputs.compactMap { $0 }
            guard !node.op.isONNX("Constant"), !functions.contains(node.op.canonical), !outputs.isEmpty,
                OperatorRegistry.schema(for: node.op)?.isDeterministic == true,
                !outputs.contains(where: { graph[$0].isOutput })
            else { continue }
            let tensors = outputs.compactMap { known.constant($0) }
            guard tensors.count == outputs.count else { continue }
            let operands = graph.operands(of: id)
            graph.removeNode(id)
            for (output, tensor) in zip(outputs, tensors) { graph.setInitializer(output, StoredTensor(tensor)) }
            graph.removeUnused(operands.filter { graph.contains($0) })
        }
        // Constants that only folded nodes read.
        graph.removeUnused(graph.values.filter { graph.constantTensor(of: $0) != nil && graph[$0].producer != nil })
    }
}

extension InferredTypes {
    /// The tensor that a value is in every run, as far as it follows from shapes and constants.
    func constant(_ value: ValueID) -> Tensor? {
        guard let content = content(of: value) else { return nil }
        if case .tensor(let tensor) = content { return tensor }
        guard let integers = content.integers else { return nil }
        let shape = content.isScalar ? [] : [integers.count]
        switch elementType(of: value) {
        case .int64: return Tensor(integers.map { Int64($0) }, shape: shape)
        case .int32: return Tensor(integers.map { Int32(truncatingIfNeeded: $0) }, shape: shape)
        case .float32: return Tensor(integers.map { Float($0) }, shape: shape)
        case .float64: return Tensor(integers.map { Double($0) }, shape: shape)
        case .bool: return Tensor(integers.map { $0 != 0 }, shape: shape)
        default: return nil
        }
    }
}

extension Graph {
    /// Edits the graphs inside nodes, innermost first, then this one.
    mutating func visitBodies(_ edit: (inout Graph) throws -> Void) rethrows {
        for id in order where contains(id) {
            for body in bodies(of: id) {
                var inner = body.graph
                try inner.visitBodies(edit)
                if inner != body.graph { setBody(inner, of: id, attribute: body.attribute, index: body.index) }
            }
        }
        try edit(&self)
    }
}
