import GraftCore

/// Writing the nodes that compute gradients.
extension GradientContext {
    private func name(_ type: String) -> String {
        let base = node.outputs.lazy.compactMap { $0 }.first.map { graph[$0].name } ?? node.op.type
        return "grad/\(base)/\(type)"
    }

    /// Emits a node that makes one value.
    public mutating func emit(
        _ type: String, _ inputs: [ValueID?], domain: String = "", attributes: Attributes = Attributes()
    ) -> ValueID {
        let value = graph.addValue(graph.uniqueValueName(name(type)))
        add(type, inputs, [value], domain, attributes)
        return value
    }

    /// Emits a node of ``graftDomain`` that makes one value.
    public mutating func emitGraft(
        _ type: String, _ inputs: [ValueID?], attributes: Attributes = Attributes()
    ) -> ValueID { emit(type, inputs, domain: graftDomain, attributes: attributes) }

    /// Emits a node that makes several values; those that are not wanted are left out.
    public mutating func emit(
        _ type: String, _ inputs: [ValueID?], wanted: [Bool], domain: String = "",
        attributes: Attributes = Attributes()
    ) -> [ValueID?] {
        let base = name(type)
        var values: [ValueID?] = []
        for isWanted in wanted { values.append(isWanted ? graph.addValue(graph.uniqueValueName(base)) : nil) }
        while let last = values.last, last == nil { values.removeLast() }
        guard !values.isEmpty else { return Array(repeating: nil, count: wanted.count) }
        add(type, inputs, values, domain, attributes)
        return values + Array(repeating: nil, count: wanted.count - values.count)
    }

    private mutating func add(
        _ type: String, _ inputs: [ValueID?], _ outputs: [ValueID?], _ domain: String, _ attributes: Attributes
    ) {
        let id = graph.addNode(
            OperatorName(type, domain: domain), inputs: inputs, outputs: outputs, attributes: attributes)
        types.inferEmitted(id, in: graph, opset: domain.isEmpty ? onnxOpset : 1)
    }

    /// A stored scalar of the element type of a value; float32 where that is not known.
    public mutating func scalar(_ number: Double, like value: ValueID) throws(InferenceError) -> ValueID {
        let type = elementType(of: value) ?? .float32
        let key = ConstantKey.scalar(type, number.bitPattern)
        if let known = constants[key] { return known }
        guard let tensor = Tensor.filled(number, type, shape: []) else {
            throw failure("there are no gradients of elements of type \(type.name)")
        }
        let id = graph.addInitializer(graph.uniqueValueName("grad/constant"), tensor)
        types.set(ValueType(of: tensor), content: .tensor(tensor), of: id)
        constants[key] = id
        return id
    }

    /// A stored list of integers.
    public mutating func integers(_ numbers: [Int]) -> ValueID {
        let key = ConstantKey.integers(numbers)
        if let known = constants[key] { return known }
        let tensor = Tensor(numbers.map { Int64($0) })
        let id = graph.addInitializer(graph.uniqueValueName("grad/constant"), tensor)
        types.set(ValueType(of: tensor), content: .tensor(tensor), of: id)
        constants[key] = id
        return id
    }

    /// The gradient summed to the shape of `like`, where broadcasting widened it; itself where the shapes are known to
    /// be equal.
    public mutating func reduced(_ gradient: ValueID, to like: ValueID) -> ValueID {
        if let a = shape(of: gradient), let b = shape(of: like), a.isKnown, a.extents == b.extents { return gradient }
        return emitGraft("ReduceTo", [gradient, like])
    }

    /// The value repeated to the shape of `like`.
    public mutating func expanded(_ value: ValueID, to like: ValueID) -> ValueID {
        if let a = shape(of: value), let b = shape(of: like), a.isKnown, a.extents == b.extents { return value }
        return emitGraft("ExpandLike", [value, like])
    }

    /// The value in the shape of `like`, which has as many elements.
    public mutating func reshaped(_ value: ValueID, to like: ValueID) -> ValueID {
        if let a = shape(of: value), let b = shape(of: like), a.isKnown, a.extents == b.extents { return value }
        return emitGraft("ReshapeLike", [value, like])
    }

    /// The sum over axes, in the way that the model's opset spells it.
    public mutating func sum(_ value: ValueID, axes: [Int], keepDimensions: Bool) -> ValueID {
        let keep = AttributeValue.int(keepDimensions ? 1 : 0)
        if onnxOpset >= 13 {
            return emit("ReduceSum", [value, integers(axes)], attributes: ["keepdims": keep])
        }
        return emit("ReduceSum", [value], attributes: ["axes": .ints(axes), "keepdims": keep])
    }

    /// The value with axes of extent 1 inserted, in the way that the model's opset spells it.
    public mutating func unsqueezed(_ value: ValueID, axes: [Int]) -> ValueID {
        guard !axes.isEmpty else { return value }
        if onnxOpset >= 13 { return emit("Unsqueeze", [value, integers(axes)]) }
        return emit("Unsqueeze", [value], attributes: ["axes": .ints(axes)])
    }

    /// The value without axes of extent 1, in the way that the model's opset spells it.
    public mutating func squeezed(_ value: ValueID, axes: [Int]) -> ValueID {
        guard !axes.isEmpty else { return value }
        if onnxOpset >= 13 { return emit("Squeeze", [value, integers(axes)]) }
        return emit("Squeeze", [value], attributes: ["axes": .ints(axes)])
    }

    /// The value as elements of another type.
    public mutating func cast(_ value: ValueID, like other: ValueID) -> ValueID {
        let type = elementType(of: other) ?? .float32
        return emit("Cast", [value], attributes: ["to": .int(Int64(type.rawValue))])
    }

    /// The sum.
    public mutating func add(_ a: ValueID, _ b: ValueID) -> ValueID { emit("Add", [a, b]) }
    /// The difference.
    public mutating func subtract(_ a: ValueID, _ b: ValueID) -> ValueID { emit("Sub", [a, b]) }
    /// The product.
    public mutating func multiply(_ a: ValueID, _ b: ValueID) -> ValueID { emit("Mul", [a, b]) }
    /// The quotient.
    public mutating func divide(_ a: ValueID, _ b: ValueID) -> ValueID { emit("Div", [a, b]) }
    /// The negative.
    public mutating func negate(_ a: ValueID) -> ValueID { emit("Neg", [a]) }

    /// Sets the gradient of the first input to the one value that an operator of ``graftDomain`` makes.
    public mutating func setByOperator(
        _ type: String, _ inputs: [ValueID?], attributes: Attributes = Attributes()
    ) {
        guard needs(0) else { return }
        setGradient(ofInput: 0, emitGraft(type, inputs, attributes: attributes))
    }
}
