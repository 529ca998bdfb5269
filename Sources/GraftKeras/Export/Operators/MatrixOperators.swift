import GraftCore
import GraftIR
import OrderedCollections

/// Gemm and MatMul (with an Add behind it) as Dense.
enum MatrixOperators: RaisingFamily {
    static let operators = ["Gemm", "MatMul"]

    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws {
        let node = raiser.graph[id]
        guard let matrix = raiser.constant(id, 1), matrix.shape.count == 2, matrix.elementType == .float32 else {
            throw raiser.failure(id, "its second input is not a stored float matrix")
        }
        var input = try raiser.input(id)
        let isGemm = node.op.type == "Gemm"
        guard input.shape.count == 2 || !isGemm, input.layout != .channelsFirst || !isGemm else {
            throw raiser.failure(id, "its input is not a matrix")
        }
        if input.layout == .channelsFirst { input = try raiser.convert(input, to: .plain) }
        var isTransposed = false
        if isGemm {
            isTransposed = node.attributes.int("transB") == 1
            guard node.attributes.int("transA") ?? 0 == 0, node.attributes.float("alpha") ?? 1 == 1,
                node.attributes.float("beta") ?? 1 == 1
            else { throw raiser.failure(id, "its settings alpha, beta or transA are not those of Dense") }
        }
        let features = matrix.shape[isTransposed ? 1 : 0]
        let units = matrix.shape[isTransposed ? 0 : 1]
        let shape = [features, units]
        let layout: WeightLayout
        if case .flattened(let height, let width, let channels) = input.layout {
            guard height * width * channels == features else { throw raiser.failure(id, "its matrix does not fit") }
            // Rows from channels first to channels last; a transposed matrix is turned at the same time.
            layout =
                isTransposed
                ? WeightLayout(
                    view: [height, width, channels, units], permutation: [3, 2, 0, 1], shape: matrix.shape,
                    kerasShape: shape)
                : WeightLayout(
                    view: [height, width, channels, units], permutation: [2, 0, 1, 3], shape: matrix.shape,
                    kerasShape: shape)
        } else {
            layout =
                isTransposed
                ? WeightLayout(view: shape, permutation: [1, 0], shape: matrix.shape, kerasShape: shape)
                : .identity(shape)
        }
        var weights = [
            RaisedLayer.Weight(leaf: "kernel", tensor: try layout.invert(matrix), value: node.inputs[1])
        ]
        var last = id
        if isGemm {
            if node.inputs.count > 2, let value = node.inputs[2] {
                guard let bias = raiser.constant(value), let fitting = vector(bias, units) else {
                    throw raiser.failure(id, "its bias is not a stored float vector")
                }
                weights.append(RaisedLayer.Weight(leaf: "bias", tensor: fitting, value: value))
            }
        } else if let (add, bias, value) = followingBias(id, raiser, units) {
            weights.append(RaisedLayer.Weight(leaf: "bias", tensor: bias, value: value))
            raiser.take(add)
            last = add
        }
        let result = raiser.add(
            "Dense", ["units": JSON(units), "activation": "linear", "use_bias": JSON(weights.count == 2)], [input],
            weights: weights, shape: input.shape.dropLast() + [units], layout: .plain, for: id)
        raiser.define(last, as: result)
    }

    private static func vector(_ tensor: Tensor, _ count: Int) -> Tensor? {
        guard tensor.elementType == .float32, tensor.count == count, tensor.shape.last == count else { return nil }
        return try? tensor.reshaped([count])
    }

    /// The Add of a stored vector that alone reads a product.
    private static func followingBias(_ id: NodeID, _ raiser: LayerRaiser, _ units: Int) -> (NodeID, Tensor, ValueID)? {
        let graph = raiser.graph
        guard let output = graph[id].outputs.first, let output, graph[output].uses.count == 1,
            case .node(let add, let position) = graph[output].uses[0], graph[add].op.isONNX("Add"),
            graph[add].metadata[GraphBuilder.layerKey] == graph[id].metadata[GraphBuilder.layerKey],
            let value = graph[add].inputs[1 - position], let tensor = raiser.constant(value),
            let bias = vector(tensor, units)
        else { return nil }
        return (add, bias, value)
    }
}
