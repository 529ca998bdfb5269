import GraftCore

/// What a stored tensor is to the node that reads it.
public enum ParameterRole: String, Sendable, Hashable, CaseIterable {
    /// A kernel or matrix: of a convolution, a linear layer, a recurrent cell.
    case weight
    /// What a convolution, linear layer or recurrent cell adds.
    case bias
    /// The factor of a normalization.
    case scale
    /// What a normalization adds.
    case shift
    /// The slope of an activation, such as PRelu.
    case slope
    /// A table of vectors looked up by index, or added by position.
    case embedding
    /// The running mean of a batch normalization.
    case mean
    /// The running variance of a batch normalization.
    case variance
    /// Numbers in a quantized form.
    case quantized

    /// Whether gradients may change it.
    public var isTrainable: Bool {
        switch self {
        case .weight, .bias, .scale, .shift, .slope, .embedding: true
        case .mean, .variance, .quantized: false
        }
    }

    /// Whether it is a running statistic of a batch normalization.
    public var isStatistic: Bool { self == .mean || self == .variance }

    /// Whether weight decay usually applies: to matrices and tables, not to biases, normalizations and slopes.
    public var decays: Bool { self == .weight || self == .embedding }
}

/// Which inputs of which operators hold parameters.
enum ParameterSlots {
    /// The roles of inputs by operator.
    static let table: [OperatorName: [Int: ParameterRole]] = [
        "Conv": [1: .weight, 2: .bias],
        "ConvTranspose": [1: .weight, 2: .bias],
        "DeformConv": [1: .weight, 3: .bias],
        "CausalConvWithState": [1: .weight, 2: .bias],
        "ConvInteger": [1: .quantized],
        "QLinearConv": [3: .quantized, 8: .quantized],
        "MatMulInteger": [1: .quantized],
        "QLinearMatMul": [3: .quantized],
        "Gemm": [0: .weight, 1: .weight, 2: .bias],
        "MatMul": [0: .weight, 1: .weight],
        "Einsum": [0: .weight, 1: .weight],
        "BatchNormalization": [1: .scale, 2: .shift, 3: .mean, 4: .variance],
        "InstanceNormalization": [1: .scale, 2: .shift],
        "LayerNormalization": [1: .scale, 2: .shift],
        "GroupNormalization": [1: .scale, 2: .shift],
        "RMSNormalization": [1: .scale],
        "PRelu": [1: .slope],
        "LSTM": [1: .weight, 2: .weight, 3: .bias, 7: .weight],
        "GRU": [1: .weight, 2: .weight, 3: .bias],
        "RNN": [1: .weight, 2: .weight, 3: .bias],
        "Gather": [0: .embedding],
        OperatorName("FusedMatMul", domain: "com.microsoft"): [0: .weight, 1: .weight],
        OperatorName("FusedConv", domain: "com.microsoft"): [1: .weight, 2: .bias],
        OperatorName("FusedGemm", domain: "com.microsoft"): [0: .weight, 1: .weight, 2: .bias],
        OperatorName("SkipLayerNormalization", domain: "com.microsoft"): [2: .scale, 3: .shift, 4: .bias],
        OperatorName("Attention", domain: "com.microsoft"): [1: .weight, 2: .bias],
    ]

    /// The operators that multiply by a kernel or matrix; a vector added right after one is its bias.
    static let products: Set<OperatorName> = [
        "Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", OperatorName("FusedMatMul", domain: "com.microsoft"),
    ]

    /// The normalizations.
    static let normalizations: Set<OperatorName> = [
        "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization",
        "LpNormalization", "MeanVarianceNormalization", "LRN",
        OperatorName("SkipLayerNormalization", domain: "com.microsoft"),
    ]

    /// The recurrent cells.
    static let recurrent: Set<OperatorName> = ["LSTM", "GRU", "RNN"]

    /// The operators whose outputs say how large a value is, not what is in it.
    static let measures: Set<OperatorName> = ["Shape", "Size"]

    /// The operators that turn an integer weight into numbers.
    static let dequantizers: Set<OperatorName> = ["DequantizeLinear"]

    /// The operators that make something new each time without reading anything.
    static let random: Set<OperatorName> = [
        "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial",
    ]
}
