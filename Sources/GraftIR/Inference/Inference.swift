import GraftCore

/// Works out the type of every value of a model from its inputs and operators.
public enum Inference {
    /// Infers the types of all values.
    ///
    /// Extents that are not numbers flow as expressions over the names that the inputs declare; an input's extent
    /// without a name gets one, `input_dim0`. Shapes that are computed as data (Shape, Gather, Concat, ...) are
    /// followed to where they are used. An operator that is not known gives outputs of the declared type. An input
    /// that has a default is taken to hold it, as old files list all their weights as inputs.
    ///
    /// - Parameters:
    ///   - inputs: shapes in place of the declared ones, by the input's name. A number in place of a name binds the name
    ///     everywhere; declared extents of values inside the graph are then not relied on.
    /// - Throws: ``InferenceError`` or ``AttributeError`` that names the node and the shapes that do not fit.
    public static func inferTypes(
        of model: Model, inputs: [String: ShapeOverride] = [:]
    ) throws -> InferredTypes {
        for name in inputs.keys.sorted() where !model.graph.inputs.contains(where: { model.graph[$0].name == name }) {
            throw InferenceError(
                node: "", op: "Input",
                reason: "the model has no input \"\(name)\"."
                    + Suggestion.sentence(name, in: model.graph.inputs.map { model.graph[$0].name }))
        }
        let engine = InferenceEngine(
            functions: Dictionary(model.functions.map { ($0.name.canonical, $0) }) { first, _ in first },
            trustsDeclaredExtents: inputs.isEmpty)
        var bindings: [String: Extent] = [:]
        for id in model.graph.inputs {
            guard let override = inputs[model.graph[id].name], let declared = model.graph[id].type?.shape,
                declared.rank == override.shape.rank
            else { continue }
            for axis in 0..<declared.rank {
                if case .symbol(let name) = declared[axis].extent, override.shape[axis].extent.isKnown {
                    bindings[name] = override.shape[axis].extent
                }
            }
        }
        var types: [ValueID: ValueType] = [:]
        for id in model.graph.inputs {
            let value = model.graph[id]
            let override = inputs[value.name]
            var type = value.type ?? value.tensor.map { ValueType(of: $0) }
            if let override {
                type = .tensor(override.elementType ?? type?.elementType, override.shape)
            } else if let shape = type?.shape {
                type?.shape = named(shape, input: value.name, bindings: bindings)
            }
            types[id] = type
        }
        return try engine.infer(
            model.graph, scope: InferenceEngine.Scope(opsets: model.opsets, given: types, outer: nil, depth: 0))
    }

    /// The shape with a name for every extent that has none, and with bound names replaced.
    private static func named(_ shape: SymbolicShape, input: String, bindings: [String: Extent]) -> SymbolicShape {
        var result = shape
        for axis in 0..<shape.rank {
            let extent = shape[axis].extent
            if extent.isKnown {
                result[axis].extent = extent.substituting(bindings)
            } else {
                let name = String(
                    decoding: input.utf8.map { byte -> UInt8 in
                        switch byte {
                        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                            UInt8(ascii: "0")...UInt8(ascii: "9"):
                            byte
                        default: UInt8(ascii: "_")
                        }
                    }, as: UTF8.self)
                let startsWithDigit = name.utf8.first.map { $0 < UInt8(ascii: "A") } ?? true
                result[axis].extent = .symbol("\(startsWithDigit ? "_" : "")\(name)_dim\(axis)")
            }
        }
        return result
    }
}

/// One run of inference over a model.
struct InferenceEngine {
    /// The functions that the model brings with it.
    let functions: [OperatorName: Function]
    /// Whether extents that the file declares inside the graph hold.
    let trustsDeclaredExtents: Bool

    /// The deepest nesting of bodies and function calls that is followed.
    static let depthLimit = 48

    /// Where a graph stands.
    struct Scope {
        /// The operator versions in force.
        let opsets: [OpsetImport]
        /// The types of inputs.
        let given: [ValueID: ValueType]
        /// What is known of the values around a body.
        let outer: InferredTypes?
        /// How many graphs are around this one.
        let depth: Int

        func opset(of domain: String) -> Int {
            opsets.first { ($0.domain == "ai.onnx" ? "" : $0.domain) == domain }?.version ?? 1
        }
    }

    /// Collects what is found out inside bodies while a rule runs.
    private final class BodyResults {
        var bodies: [InferredTypes.Body: InferredTypes] = [:]
    }

    func infer(_ graph: Graph, scope: Scope) throws -> InferredTypes {
        var result = InferredTypes()
        result.reserve(graph)
        for id in graph.values {
            switch graph[id].origin {
            case .input:
                result.set(
                    scope.given[id] ?? graph[id].type, content: graph[id].tensor.map { .tensor($0) }, of: id)
            case .initializer:
                if let tensor = graph[id].tensor {
                    result.set(ValueType(of: tensor), content: .tensor(tensor), of: id)
                } else if let sparse = graph[id].sparseInitializer {
                    result.set(
                        .tensor(sparse.values.tensor.elementType, SymbolicShape(sparse.shape)), content: nil, of: id)
                }
            case .capture(let outer):
                result.set(scope.outer?.type(of: outer), content: scope.outer?.content(of: outer), of: id)
            case .none: result.set(graph[id].type, content: nil, of: id)
            case .node: break
            }
        }
        for id in graph.order { try infer(id, in: graph, scope: scope, into: &result) }
        return result
    }

    private func infer(_ id: NodeID, in graph: Graph, scope: Scope, into result: inout InferredTypes) throws {
        let node = graph[id]
        var types: [ValueType?] = []
        var contents: [KnownContent?] = []
        if !functions.isEmpty, let function = functions[node.op.canonical] {
            types = Array(repeating: nil, count: node.outputs.count)
            contents = Array(repeating: nil, count: node.outputs.count)
            if scope.depth < Self.depthLimit {
                let body = try call(function, node: node, known: result, scope: scope)
                for (index, inner) in function.body.outputs.enumerated() where index < types.count {
                    types[index] = body.type(of: inner)
                    contents[index] = body.content(of: inner)
                }
                result.calls[id] = body
            }
        } else if let schema = OperatorRegistry.schema(for: node.op) {
            try schema.checkArity(of: node, label: node.label(in: graph))
            let results = node.hasBodies ? BodyResults() : nil
            var labelled = node
            if node.name.isEmpty { labelled.name = node.label(in: graph) }
            var context = InferenceContext(
                node: labelled, opset: scope.opset(of: node.op.canonicalDomain),
                inputTypes: node.inputs.map { $0.flatMap { result.type(of: $0) } },
                inputContents: node.inputs.map { $0.flatMap { result.content(of: $0) } },
                inferBody: bodyInference(of: id, node, known: result, scope: scope, results))
            try schema.inference(&context)
            types = context.outputTypes
            contents = context.outputContents
            if let results { result.bodies.merge(results.bodies) { _, new in new } }
        }
        for (index, output) in node.outputs.enumerated() {
            guard let output else { continue }
            let type = merge(
                types.isEmpty ? nil : types[index], of: output, in: graph, label: node.label(in: graph), into: &result)
            result.set(type, content: contents.isEmpty ? nil : contents[index], of: output)
        }
    }

    /// How the bodies of a node are inferred; only a node that has some holds on to what is known so far.
    private func bodyInference(
        of id: NodeID, _ node: Node, known: InferredTypes, scope: Scope, _ results: BodyResults?
    ) -> InferenceContext.BodyInference {
        guard let results, scope.depth < Self.depthLimit else { return { _, _, _, _ in InferredTypes() } }
        return { attribute, index, body, inputs in
            var given: [ValueID: ValueType] = [:]
            for (value, type) in zip(body.inputs, inputs) { given[value] = type ?? body[value].type }
            let inner = try infer(
                body, scope: Scope(opsets: scope.opsets, given: given, outer: known, depth: scope.depth + 1))
            results.bodies[InferredTypes.Body(node: id, attribute: attribute, index: index)] = inner
            return inner
        }
    }

    /// What follows from the operator, completed by what the file declares.
    private func merge(
        _ inferred: ValueType?, of value: ValueID, in graph: Graph, label: @autoclosure () -> String,
        into result: inout InferredTypes
    ) -> ValueType? {
        guard let declared = graph[value].type else { return inferred }
        let name = graph[value].name
        guard var type = inferred else {
            if trustsDeclaredExtents { return declared }
            guard case .tensor(let element, let shape) = declared.kind else { return declared }
            return .tensor(element, shape.map { SymbolicShape(extents: $0.extents.map { _ in .unknown }) })
        }
        guard case .tensor(let element, let shape) = type.kind,
            case .tensor(let fileElement, let fileShape) = declared.kind
        else { return type }
        if let element, let fileElement, element != fileElement {
            result.conflicts.append(
                "\(label()): \"\(name)\" is declared \(fileElement.name), but its elements are \(element.name)")
        }
        var merged = shape
        if let fileShape {
            if let shape {
                if trustsDeclaredExtents {
                    if let unified = shape.unified(with: fileShape.plain) {
                        merged = unified
                    } else {
                        result.conflicts.append(
                            "\(label()): \"\(name)\" is declared \(fileShape), but its shape is \(shape)")
                    }
                }
            } else {
                merged =
                    trustsDeclaredExtents
                    ? fileShape.plain : SymbolicShape(extents: fileShape.extents.map { _ in .unknown })
            }
        }
        type.kind = .tensor(element ?? fileElement, merged)
        return type
    }

    private func call(_ function: Function, node: Node, known: InferredTypes, scope: Scope) throws -> InferredTypes {
        let body = function.body(boundTo: node.attributes)
        var given: [ValueID: ValueType] = [:]
        for (inner, input) in zip(body.inputs, node.inputs) {
            if let input, let type = known.type(of: input) { given[inner] = type }
        }
        return try infer(body, scope: Scope(opsets: function.opsets, given: given, outer: nil, depth: scope.depth + 1))
    }
}

extension Node {
    /// Whether an attribute holds a graph.
    fileprivate var hasBodies: Bool {
        for index in attributes.all.indices {
            switch attributes.all[index].value {
            case .graph, .graphs: return true
            default: continue
            }
        }
        return false
    }
}

extension Function {
    /// The body with the attributes of a call in place of references to the function's own attributes; what the call
    /// leaves out has the function's default, or is left out.
    public func body(boundTo attributes: Attributes) -> Graph {
        var bound = Attributes(attributeDefaults)
        for attribute in attributes.all { bound[attribute.name] = attribute.value }
        return body.binding(bound)
    }
}

extension Graph {
    fileprivate func binding(_ values: Attributes) -> Graph {
        var result = self
        for id in order {
            for attribute in self[id].attributes.all {
                switch attribute.value {
                case .reference(let name, _): result.setAttribute(attribute.name, of: id, to: values[name])
                case .graph(let inner): result.setAttribute(attribute.name, of: id, to: .graph(inner.binding(values)))
                case .graphs(let inner):
                    result.setAttribute(attribute.name, of: id, to: .graphs(inner.map { $0.binding(values) }))
                default: break
                }
            }
        }
        return result
    }
}
