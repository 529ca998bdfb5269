import GraftCore
import GraftIR

/// What a DequantizeLinear with constant scales reads.
struct DequantizedBytes {
    /// The bytes.
    let slot: Int
    let scale: Int
    let zeroPoint: Int?
    let type: ElementType
    /// The number of scales, and the axis along which they lie where there are several.
    let scales: Int
    let axis: Int

    var isPerTensor: Bool { scales == 1 }
}

/// The QuantizeLinear after a value, with a constant scale; what lies between is an activation.
struct QuantizingEnd {
    let node: Int
    let output: Int
    let scale: Int
    let zeroPoint: Int
    let type: ElementType
    /// The bytes that the activation lets through, where these are fewer than all.
    var low: Int?
    var high: Int?
}

extension PlanGraph {
    /// What a value was dequantised from; nil where it was not, or not by constants.
    func bytes(_ slot: Int?) -> DequantizedBytes? {
        guard let slot, let index = writer[slot], let node = nodes[index], node.op.type == "DequantizeLinear",
            ["", "com.microsoft"].contains(node.op.canonicalDomain), node.inputs.count >= 2, let x = node.inputs[0],
            let scale = node.inputs[1], let shape = constantShape(scale), shape.count <= 1, isScale(scale),
            node.attributes.int("block_size") ?? 0 == 0,
            [0, Int(ElementType.float32.rawValue)].contains(node.attributes.int("output_dtype") ?? 0)
        else { return nil }
        let zeroPoint = node.inputs.count > 2 ? node.inputs[2] : nil
        var type = constants[x]?.elementType ?? types[x]?.elementType
        let count = shape.first ?? 1
        if let zeroPoint {
            guard let value = constants[zeroPoint], value.shape?.reduce(1, *) == count else { return nil }
            type = value.elementType
        }
        guard let type, type == .uint8 || type == .int8, count > 0 else { return nil }
        var axis = node.attributes.int("axis") ?? 1
        if axis < 0, let rank = constantShape(x)?.count { axis += rank }
        return DequantizedBytes(slot: x, scale: scale, zeroPoint: zeroPoint, type: type, scales: count, axis: axis)
    }

    /// The inputs of a quantised operator for a tensor of bytes.
    func inputs(_ bytes: DequantizedBytes) -> [Int?] { [bytes.slot, bytes.scale, bytes.zeroPoint] }

    /// Whether a slot holds constant scales whose products and quotients are normal numbers.
    private func isScale(_ slot: Int) -> Bool {
        guard let values = floats(slot), !values.isEmpty else { return false }
        return values.allSatisfy { $0 >= 0x1p-60 && $0 <= 0x1p60 }
    }

    /// Whether sums over so many products of bytes fit 32 bits.
    func sumsFit(_ depth: Int?) -> Bool { (depth ?? 0) <= 32768 }

    /// The integer that a constant of bytes holds.
    func byte(_ slot: Int?) -> Int32? {
        guard let slot, case .tensor(let tensor)? = constants[slot], tensor.count == 1 else { return nil }
        switch tensor.elementType {
        case .uint8: return Int32(tensor.typed(UInt8.self).pointee)
        case .int8: return Int32(tensor.typed(Int8.self).pointee)
        default: return nil
        }
    }

    /// Whether a node quantises to bytes with a constant scale.
    func quantizer(_ index: Int) -> QuantizingEnd? {
        guard let node = nodes[index], node.op.type == "QuantizeLinear",
            ["", "com.microsoft"].contains(node.op.canonicalDomain), node.inputs.count >= 3,
            let scale = node.inputs[1], constantShape(scale)?.reduce(1, *) == 1, isScale(scale),
            let zeroPoint = node.inputs[2], byte(zeroPoint) != nil, let type = constants[zeroPoint]?.elementType,
            let output = node.outputs.first ?? nil, node.attributes.int("block_size") ?? 0 == 0,
            [0, Int(ElementType.float32.rawValue)].contains(node.attributes.int("precision") ?? 0),
            [0, Int(type.rawValue)].contains(node.attributes.int("output_dtype") ?? 0)
        else { return nil }
        return QuantizingEnd(node: index, output: output, scale: scale, zeroPoint: zeroPoint, type: type)
    }

    /// The quantiser that is all that reads a value, itself or after Relu or Clip.
    func quantizer(after slot: Int, activations: Bool = true) -> QuantizingEnd? {
        guard let reader = onlyReader(of: slot), reader.input == 0, let next = nodes[reader.node] else { return nil }
        if next.op.type == "QuantizeLinear" { return quantizer(reader.node) }
        guard activations, let (low, high) = clipping(next), let result = next.outputs.first ?? nil,
            let last = onlyReader(of: result), last.input == 0, var end = quantizer(last.node),
            let scale = scalar(end.scale), let zeroPoint = byte(end.zeroPoint),
            let (least, greatest) = QuantizeKernels.range(end.type)
        else { return nil }
        func code(_ value: Float) -> Int {
            let steps = Double((value / scale).rounded(.toNearestOrEven)) + Double(zeroPoint)
            return Int(max(Double(least), min(Double(greatest), steps)))
        }
        if code(low) > least { end.low = code(low) }
        if code(high) < greatest { end.high = code(high) }
        return end
    }

    /// The bounds that a node holds numbers within.
    private func clipping(_ node: PlanNode) -> (Float, Float)? {
        let all: (Float, Float) = (-.infinity, .infinity)
        if node.op.isONNX("Relu") { return (0, all.1) }
        guard node.op.isONNX("Clip") else { return nil }
        if node.opset < 11 {
            return bounds(node.attributes.float("min") ?? all.0, node.attributes.float("max") ?? all.1)
        }
        func bound(_ input: Int, _ otherwise: Float) -> Float? {
            guard node.inputs.count > input, let slot = node.inputs[input] else { return otherwise }
            return scalar(slot) ?? dequantizedScalar(slot)
        }
        guard let low = bound(1, all.0), let high = bound(2, all.1) else { return nil }
        return bounds(low, high)
    }

    private func bounds(_ low: Float, _ high: Float) -> (Float, Float)? { low <= high ? (low, high) : nil }

    /// The number that a constant byte stands for.
    private func dequantizedScalar(_ slot: Int) -> Float? {
        guard let bytes = bytes(slot), bytes.isPerTensor, let value = byte(bytes.slot), let scale = scalar(bytes.scale)
        else { return nil }
        return Float(value - (byte(bytes.zeroPoint) ?? 0)) * scale
    }

    /// Whether a slot is a constant of as many numbers, or will be one once constants are dequantised.
    func isNumbers(_ slot: Int?, count: Int) -> Bool {
        guard let slot else { return true }
        if let shape = constantShape(slot) {
            return shape == [count] && floats(slot)?.allSatisfy { $0.isFinite } == true
        }
        guard let index = writer[slot], let node = nodes[index], node.op.type == "DequantizeLinear",
            constantShape(node.inputs[0]) == [count], node.inputs.allSatisfy({ $0 == nil || constants[$0!] != nil }),
            let scales = floats(node.inputs.count > 1 ? node.inputs[1] : nil)
        else { return false }
        return scales.allSatisfy { abs($0) <= 0x1p60 }
    }

    /// Whether bytes stand for the same numbers before and after.
    func isSame(_ x: DequantizedBytes, _ end: QuantizingEnd) -> Bool {
        x.type == end.type && scalar(x.scale) == scalar(end.scale)
            && (x.zeroPoint == nil ? 0 : byte(x.zeroPoint)) == byte(end.zeroPoint)
    }

    /// Puts a node that makes bytes in the place of one that makes numbers, and of the quantiser after it.
    mutating func replace(_ index: Int, with node: PlanNode, _ end: QuantizingEnd?) {
        var node = node
        if let end {
            nodes[end.node] = nil
            if let low = end.low { node.attributes["low"] = .int(low) }
            if let high = end.high { node.attributes["high"] = .int(high) }
        }
        nodes[index] = node
        refresh()
    }
}
