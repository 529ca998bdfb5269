import GraftCore
import GraftIR

/// Works inference's batch normalizations into the constant weights of the node before or behind them.
enum BatchNormFolding {
    /// `y = x * scale + shift`, an entry a channel.
    private struct Affine {
        let scale: [Double]
        let shift: [Double]

        init?(_ id: NodeID, _ graph: Graph, opset: Int) throws {
            let node = graph[id]
            guard node.op.isONNX("BatchNormalization"), node.inputs.count == 5 else { return nil }
            let attributes = try BatchNormalizationAttributes(node, opset: opset)
            guard !attributes.isTraining, !attributes.isPerActivation,
                !node.outputs.dropFirst().contains(where: { $0.map { !graph[$0].uses.isEmpty } ?? false })
            else { return nil }
            var parts: [[Double]] = []
            for input in node.inputs.dropFirst() {
                guard let input, let tensor = graph.constantTensor(of: input), tensor.elementType.isFloat else {
                    return nil
                }
                parts.append(try tensor.doubles())
            }
            guard Set(parts.map(\.count)).count == 1, !parts[0].isEmpty else { return nil }
            var (scale, shift) = (parts[0], parts[1])
            for index in scale.indices {
                scale[index] = parts[0][index] / (parts[3][index] + Double(attributes.epsilon)).squareRoot()
                shift[index] = parts[1][index] - parts[2][index] * scale[index]
            }
            guard scale.allSatisfy(\.isFinite), shift.allSatisfy(\.isFinite) else { return nil }
            (self.scale, self.shift) = (scale, shift)
        }
    }

    static func fold(in graph: inout Graph, opset: Int) throws {
        for id in graph.order where graph.contains(id) {
            guard let affine = try Affine(id, graph, opset: opset) else { continue }
            if try foldIntoProducer(id, affine, &graph) { continue }
            _ = try foldIntoConsumer(id, affine, &graph)
        }
    }

    // MARK: Behind a convolution or matrix product

    private static func foldIntoProducer(_ id: NodeID, _ affine: Affine, _ graph: inout Graph) throws -> Bool {
        guard let input = graph[id].inputs[0], let output = graph[id].outputs[0], graph[input].uses.count == 1,
            let producer = graph[input].producer, graph[producer].inputs.count >= 2,
            let weight = graph[producer].inputs[1], let tensor = graph.constantTensor(of: weight),
            tensor.elementType.isFloat
        else { return false }
        let node = graph[producer]
        let channels = affine.scale.count
        var numbers = try tensor.doubles()
        let shape = tensor.shape
        let bias: [Double]?
        switch node.op.canonical {
        case "Conv":
            guard shape.count > 2, shape[0] == channels, numbers.count % channels == 0 else { return false }
            let each = numbers.count / channels
            for index in numbers.indices { numbers[index] *= affine.scale[index / each] }
            bias = try biasOfConvolution(node, channels, graph)
        case "ConvTranspose":
            let groups = try AttributeReader(node).int("group", default: 1)
            guard shape.count > 2, groups > 0, shape[0] % groups == 0, shape[1] * groups == channels,
                let area = Checked.product(shape[2...]), area > 0
            else { return false }
            let rows = shape[0] / groups
            for index in numbers.indices {
                let (row, column) = (index / (area * shape[1]), index / area % shape[1])
                numbers[index] *= affine.scale[row / rows * shape[1] + column]
            }
            bias = try biasOfConvolution(node, channels, graph)
        case "Gemm":
            let isTransposed = try AttributeReader(node).flag("transB")
            guard shape.count == 2, shape[isTransposed ? 0 : 1] == channels else { return false }
            for index in numbers.indices {
                numbers[index] *= affine.scale[isTransposed ? index / shape[1] : index % shape[1]]
            }
            let beta = Double(try AttributeReader(node).float("beta", default: 1))
            bias = try biasOfProduct(node, channels, graph)?.map { $0 * beta }
        default: return false
        }
        guard let bias else { return false }
        let moved = bias.indices.map { bias[$0] * affine.scale[$0] + affine.shift[$0] }
        try replaceWeight(of: producer, numbers, like: tensor, &graph)
        try replaceBias(of: producer, moved, like: tensor, near: graph[id], &graph)
        if node.op.isONNX("Gemm") { graph.setAttribute("beta", of: producer, to: nil) }
        let parameters = graph.operands(of: id)
        removeSpareOutputs(of: id, &graph)
        graph.removeNode(id)
        graph.setOutput(0, of: producer, to: output)
        graph.removeUnused(parameters.filter { graph.contains($0) })
        return true
    }

    private static func biasOfConvolution(_ node: Node, _ channels: Int, _ graph: Graph) throws -> [Double]? {
        guard node.inputs.count > 2, let bias = node.inputs[2] else { return [Double](repeating: 0, count: channels) }
        guard let tensor = graph.constantTensor(of: bias), tensor.shape == [channels] else { return nil }
        return try tensor.doubles()
    }

    private static func biasOfProduct(_ node: Node, _ channels: Int, _ graph: Graph) throws -> [Double]? {
        guard node.inputs.count > 2, let bias = node.inputs[2] else { return [Double](repeating: 0, count: channels) }
        guard let tensor = graph.constantTensor(of: bias), [1, channels].contains(tensor.count),
            tensor.shape.dropLast().allSatisfy({ $0 == 1 }), tensor.shape.count <= 2
        else { return nil }
        let numbers = try tensor.doubles()
        return numbers.count == 1 ? [Double](repeating: numbers[0], count: channels) : numbers
    }

    // MARK: Before a convolution

    /// Padding adds zeros behind the normalization, which are no zeros before it: only unpadded convolutions qualify.
    private static func foldIntoConsumer(_ id: NodeID, _ affine: Affine, _ graph: inout Graph) throws -> Bool {
        guard let input = graph[id].inputs[0], let output = graph[id].outputs[0], graph[output].uses.count == 1,
            case .node(let consumer, 0) = graph[output].uses[0], graph[consumer].op.isONNX("Conv"),
            graph[consumer].inputs.count >= 2, let weight = graph[consumer].inputs[1],
            let tensor = graph.constantTensor(of: weight), tensor.elementType.isFloat
        else { return false }
        let reader = AttributeReader(graph[consumer])
        let padding = try reader.string("auto_pad") ?? "NOTSET"
        let pads = try reader.ints("pads") ?? []
        let groups = try reader.int("group", default: 1)
        let shape = tensor.shape
        guard padding == "VALID" || padding == "NOTSET" && pads.allSatisfy({ $0 == 0 }), shape.count > 2, groups > 0,
            shape[0] > 0, shape[0] % groups == 0, shape[1] * groups == affine.scale.count,
            let area = Checked.product(shape[2...]), area > 0,
            var bias = try biasOfConvolution(graph[consumer], shape[0], graph)
        else { return false }
        var numbers = try tensor.doubles()
        let rows = shape[0] / groups
        for index in numbers.indices {
            let (row, column) = (index / (area * shape[1]), index / area % shape[1])
            let channel = row / rows * shape[1] + column
            bias[row] += numbers[index] * affine.shift[channel]
            numbers[index] *= affine.scale[channel]
        }
        try replaceWeight(of: consumer, numbers, like: tensor, &graph)
        try replaceBias(of: consumer, bias, like: tensor, near: graph[id], &graph)
        let parameters = Array(graph.operands(of: id).dropFirst())
        removeSpareOutputs(of: id, &graph)
        graph.setInput(0, of: consumer, to: input)
        graph.removeNode(id)
        graph.removeUnused([output] + parameters.filter { graph.contains($0) })
        return true
    }

    // MARK: Writing

    private static func removeSpareOutputs(of id: NodeID, _ graph: inout Graph) {
        for (index, output) in graph[id].outputs.enumerated().dropFirst() {
            guard let output else { continue }
            graph.setOutput(index, of: id, to: nil)
            if !graph[output].isOutput { graph.removeUnused([output]) }
        }
    }

    private static func replaceWeight(
        of id: NodeID, _ numbers: [Double], like tensor: Tensor, _ graph: inout Graph
    ) throws {
        guard let old = graph[id].inputs[1] else { return }
        try replace(1, of: id, old, Tensor(doubles: numbers, as: tensor.elementType, shape: tensor.shape), &graph)
    }

    private static func replaceBias(
        of id: NodeID, _ numbers: [Double], like tensor: Tensor, near norm: Node, _ graph: inout Graph
    ) throws {
        let fresh = try Tensor(doubles: numbers, as: tensor.elementType, shape: [numbers.count])
        if graph[id].inputs.count > 2, let old = graph[id].inputs[2] {
            return try replace(2, of: id, old, fresh, &graph)
        }
        let base = graph[id].inputs[1].map { graph[$0].name } ?? norm.name
        let value = graph.addInitializer(graph.uniqueValueName("\(base)_bias"), fresh)
        graph.setInputs(of: id, to: [graph[id].inputs[0], graph[id].inputs[1], value])
    }

    /// Changes a stored tensor in place where nobody else reads it, else gives the node one of its own.
    private static func replace(
        _ index: Int, of id: NodeID, _ old: ValueID, _ tensor: Tensor, _ graph: inout Graph
    ) throws {
        if graph[old].initializer != nil, graph[old].uses.count == 1 {
            return graph.setTensor(old, tensor)
        }
        let fresh = graph.addInitializer(graph.uniqueValueName("\(graph[old].name)_folded"), tensor)
        graph.setInput(index, of: id, to: fresh)
        graph.removeUnused([old])
    }
}

extension Tensor {
    /// The elements of a floating-point tensor.
    fileprivate func doubles() throws -> [Double] {
        elementType == .float64 ? try elements(as: Double.self) : try floats().map { Double($0) }
    }

    /// A tensor of floating-point numbers stored as a given type.
    fileprivate init(doubles: [Double], as type: ElementType, shape: [Int]) throws {
        if type == .float64 {
            self.init(doubles, shape: shape)
        } else {
            try self.init(doubles.map { Float($0) }, as: type, shape: shape)
        }
    }
}

extension ElementType {
    /// Whether weights of the type can be folded.
    fileprivate var isFloat: Bool { [.float32, .float64, .float16, .bfloat16].contains(self) }
}
