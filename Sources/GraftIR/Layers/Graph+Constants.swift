import GraftCore

extension Graph {
    /// The tensor that a value always holds: of an initializer, or of the `Constant` node that makes it.
    ///
    /// Only tensors that are stored as such are found; nothing is computed. A list or number in a `Constant` node is
    /// given as a tensor of its kind.
    public func constantTensor(of id: ValueID) -> Tensor? {
        if let tensor = self[id].tensor { return tensor }
        guard let node = self[id].producer, self[node].op.isONNX("Constant") else { return nil }
        for attribute in self[node].attributes.all {
            switch (attribute.name, attribute.value) {
            case ("value", .tensor(let stored)): return stored.tensor
            case ("value_float", .float(let number)): return Tensor(scalar: number)
            case ("value_floats", .floats(let numbers)): return Tensor(numbers)
            case ("value_int", .int(let number)): return Tensor(scalar: number)
            case ("value_ints", .ints(let numbers)): return Tensor(numbers)
            default: continue
            }
        }
        return nil
    }

    /// The integers of a stored `int64` or `int32` tensor of at most one dimension, such as the shape of a `Reshape`.
    public func constantIntegers(of id: ValueID) -> [Int]? {
        guard let tensor = constantTensor(of: id), tensor.shape.count <= 1, tensor.count <= 64 else { return nil }
        switch tensor.elementType {
        case .int64: return (try? tensor.elements(as: Int64.self))?.map { Int($0) }
        case .int32: return (try? tensor.elements(as: Int32.self))?.map { Int($0) }
        default: return nil
        }
    }

    /// The integers that an operator takes as an attribute in older opsets and as an input in newer ones.
    public func integers(_ attribute: String, orInput index: Int, of node: NodeID) -> [Int]? {
        if let values = self[node].attributes.ints(attribute) { return values }
        guard self[node].inputs.indices.contains(index), let input = self[node].inputs[index] else { return nil }
        return constantIntegers(of: input)
    }

    /// The shape of a value that follows from stored tensors: of the tensor, or through views of it.
    package func constantShape(of id: ValueID, depth: Int = 0) -> [Int]? {
        if let tensor = constantTensor(of: id) { return tensor.shape }
        guard depth < 16, let node = self[id].producer, let source = self[node].inputs.first.flatMap({ $0 }),
            let shape = constantShape(of: source, depth: depth + 1)
        else { return self[id].shape?.counts }
        switch self[node].op.type {
        case "Identity", "Cast", "DequantizeLinear", "QuantizeLinear", "Quant": return shape
        case "Transpose":
            let permutation = self[node].attributes.ints("perm") ?? Array(shape.indices.reversed())
            guard permutation.count == shape.count, permutation.allSatisfy(shape.indices.contains) else { return nil }
            return permutation.map { shape[$0] }
        case "Reshape":
            guard let target = integers("shape", orInput: 1, of: node), let count = Checked.product(shape) else {
                return nil
            }
            return Self.resolve(target, elements: count, from: shape)
        default: return self[id].shape?.counts
        }
    }

    /// The shape that `Reshape` makes of some elements: 0 copies an extent, -1 takes what is left.
    package static func resolve(_ target: [Int], elements count: Int, from shape: [Int]) -> [Int]? {
        var result = target
        for (index, extent) in target.enumerated() where extent == 0 {
            guard shape.indices.contains(index) else { return nil }
            result[index] = shape[index]
        }
        guard let known = Checked.product(result.filter { $0 != -1 }) else { return nil }
        if let open = result.firstIndex(of: -1) {
            guard known > 0, count % known == 0 else { return nil }
            result[open] = count / known
            return result.contains(-1) ? nil : result
        }
        return known == count ? result : nil
    }

    /// The values that a node reads: its inputs, and what its bodies capture.
    package func operands(of id: NodeID) -> [ValueID] {
        var result = self[id].inputs.compactMap { $0 }
        for body in bodies(of: id) {
            for inner in body.graph.values {
                if case .capture(let outer) = body.graph[inner].origin { result.append(outer) }
            }
        }
        return result
    }
}
