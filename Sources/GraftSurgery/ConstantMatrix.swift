import GraftCore
import GraftIR

extension Graph {
    /// The numbers that a value always holds, worked out through views of a stored tensor; nil where a node on the way
    /// does more than that.
    func constantFloats(of id: ValueID, depth: Int = 0) throws -> (values: [Float], shape: [Int])? {
        if let tensor = constantTensor(of: id) { return (try tensor.floats(), tensor.shape) }
        guard depth < 16, let node = self[id].producer, let source = self[node].inputs.first.flatMap({ $0 }),
            let (values, shape) = try constantFloats(of: source, depth: depth + 1)
        else { return nil }
        switch self[node].op.type {
        case "Identity", "Cast": return (values, shape)
        case "Reshape":
            guard let target = integers("shape", orInput: 1, of: node),
                let resolved = Graph.resolve(target, elements: values.count, from: shape)
            else { return nil }
            return (values, resolved)
        case "Transpose":
            guard shape.count == 2, self[node].attributes.ints("perm") ?? [1, 0] == [1, 0] else { return nil }
            return (transposed(values, rows: shape[0], columns: shape[1]), [shape[1], shape[0]])
        case "DequantizeLinear":
            return (try dequantized(values, shape: shape, node: node), shape)
        default: return nil
        }
    }

    private func dequantized(_ values: [Float], shape: [Int], node: NodeID) throws -> [Float] {
        let inputs = self[node].inputs
        guard inputs.count > 1, let scaleID = inputs[1], let scale = try constantTensor(of: scaleID)?.floats() else {
            return values
        }
        var zero = [Float](repeating: 0, count: scale.count)
        if inputs.count > 2, let zeroID = inputs[2], let stored = try constantTensor(of: zeroID)?.floats() {
            zero = stored
        }
        guard scale.count == zero.count, scale.count > 0 else { return values }
        let axis = self[node].attributes.int("axis") ?? 1
        let front = axis < 0 ? shape.count + axis : axis
        let isPerAxis = scale.count > 1 && shape.indices.contains(front) && shape[front] == scale.count
        let stride = isPerAxis ? shape[(front + 1)...].reduce(1, *) : 1
        return values.enumerated().map { index, value in
            let slot = isPerAxis ? index / stride % scale.count : 0
            return (value - zero[slot]) * scale[slot]
        }
    }
}

/// A matrix with rows and columns exchanged.
func transposed(_ values: [Float], rows: Int, columns: Int) -> [Float] {
    var result = [Float](repeating: 0, count: values.count)
    for row in 0..<rows { for column in 0..<columns { result[column * rows + row] = values[row * columns + column] } }
    return result
}

extension Tensor {
    /// A tensor of floating-point numbers stored as a given type.
    ///
    /// - Throws: ``TensorError/typeMismatch(expected:actual:)`` for a type that is not 16, 32 or 64 bits wide.
    init(_ values: [Float], as type: ElementType, shape: [Int]) throws(TensorError) {
        switch type {
        case .float32: self.init(values, shape: shape)
        case .float64: self.init(values.map { Double($0) }, shape: shape)
        case .float16, .bfloat16:
            let bits = values.map { value -> UInt16 in
                if type == .float16 { return Float16(value).bitPattern }
                // To the nearest, ties to even; a NaN stays one.
                let pattern = value.bitPattern
                return value.isNaN
                    ? UInt16(pattern >> 16) | 0x40 : UInt16((pattern &+ 0x7FFF &+ (pattern >> 16 & 1)) >> 16)
            }
            let buffer = bits.withUnsafeBytes { ByteBuffer(copying: $0) }
            try self.init(type, shape: shape, storage: .owned(buffer))
        default: throw .typeMismatch(expected: .float32, actual: type)
        }
    }
}
