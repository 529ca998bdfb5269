/// What a layer does, as far as its operators tell.
public enum LayerKind: String, Sendable, Hashable, CaseIterable {
    /// Holds other layers.
    case group
    /// A convolution, also transposed or depthwise.
    case convolution
    /// A matrix product.
    case linear
    /// A normalization.
    case normalization
    /// A recurrent cell.
    case recurrent
    /// A table looked up by index.
    case embedding
    /// A function of each element, or softmax.
    case activation
    /// A pooling or a reduction.
    case pooling
    /// A sum, product or concatenation of several values.
    case merge
    /// Another shape or order of the same elements.
    case reshape
    /// Another size of the same picture.
    case resize
    /// Random zeros in training.
    case dropout
    /// Control flow.
    case control
    /// Anything else.
    case other

    /// The kinds in order of weight: a layer of several operators is of the first kind that one of them has.
    private static let precedence: [LayerKind] = [
        .recurrent, .convolution, .linear, .embedding, .normalization, .control, .pooling, .merge, .resize, .dropout,
        .activation, .reshape, .other,
    ]

    /// The kinds of operators; ones that are not listed are of kind ``other``.
    private static let kinds: [String: LayerKind] = {
        var result: [String: LayerKind] = [:]
        let lists: [(LayerKind, String)] = [
            (.recurrent, "LSTM GRU RNN"),
            (.convolution, "Conv ConvTranspose ConvInteger QLinearConv DeformConv FusedConv CausalConvWithState"),
            (.linear, "Gemm MatMul MatMulInteger QLinearMatMul Einsum FusedMatMul FusedGemm Attention"),
            (
                .normalization,
                "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization "
                    + "LpNormalization MeanVarianceNormalization LRN SkipLayerNormalization"
            ),
            (.control, "If Loop Scan"),
            (
                .pooling,
                "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool ReduceMean ReduceMax ReduceSum "
                    + "ReduceMin ReduceL2 ReduceL1 ArgMax TopK"
            ),
            (.merge, "Add Sub Mul Div Concat Sum Mean Max Min"),
            (.resize, "Resize Upsample DepthToSpace SpaceToDepth GridSample"),
            (.dropout, "Dropout"),
            (
                .activation,
                "Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Swish Mish Tanh Softplus "
                    + "Softsign Softmax LogSoftmax Clip Erf Exp Log Sqrt ThresholdedRelu SwiGLU FastGelu QuickGelu"
            ),
            (
                .reshape,
                "Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Gather Pad Expand Tile Cast Identity "
                    + "QuantizeLinear DequantizeLinear"
            ),
        ]
        for (kind, names) in lists { for name in names.split(separator: " ") { result[String(name)] = kind } }
        return result
    }()

    /// The kind of one operator.
    static func of(_ op: OperatorName) -> LayerKind { kinds[op.type] ?? .other }

    /// The kind of a layer made of several operators.
    static func of(_ ops: some Sequence<OperatorName>) -> LayerKind {
        let present = Set(ops.map(of))
        return precedence.first { present.contains($0) } ?? .other
    }
}
