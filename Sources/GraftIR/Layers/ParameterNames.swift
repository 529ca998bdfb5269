/// What the names of stored tensors say: which layer they belong to and what they are to it.
enum ParameterNames {
    /// The last words of parameter names in PyTorch, Keras, TensorFlow and PaddlePaddle, and what they mean.
    private static let words: [String: ParameterRole] = [
        "weight": .weight, "weights": .weight, "kernel": .weight, "w": .weight, "filter": .weight,
        "weight_g": .weight, "weight_v": .weight, "depthwise_kernel": .weight, "pointwise_kernel": .weight,
        "recurrent_kernel": .weight, "depthwise_weights": .weight, "in_proj_weight": .weight,
        "bias": .bias, "biases": .bias, "b": .bias, "in_proj_bias": .bias,
        "gamma": .scale, "scale": .scale, "layer_scale": .scale, "gamma_1": .scale, "gamma_2": .scale,
        "beta": .shift, "offset": .shift, "shift": .shift, "alpha": .slope, "slope": .slope,
        "running_mean": .mean, "moving_mean": .mean, "mean": .mean,
        "running_var": .variance, "moving_variance": .variance, "variance": .variance,
        "embedding": .embedding, "embeddings": .embedding, "pos_embed": .embedding, "pos_embedding": .embedding,
        "position_embedding": .embedding, "position_embeddings": .embedding, "class_token": .embedding,
        "cls_token": .embedding, "dist_token": .embedding, "class_embedding": .embedding,
        "relative_position_bias_table": .embedding, "positional_embedding": .embedding, "logit_scale": .scale,
    ]

    /// What a parameter's name says that it is; nil for a name that says nothing.
    static func role(of name: String) -> ParameterRole? {
        let plain = trimmed(name)
        guard let last = plain.split(whereSeparator: { $0 == "." || $0 == "/" }).last.map(String.init) else {
            return nil
        }
        if last == plain { return (plain.contains("_") ? words[plain] : nil) ?? flatRole(of: plain) }
        return words[last] ?? paddleRole(of: last) ?? tensorFlowSuffix(of: last)?.role
    }

    /// The path of the layer that a parameter's name names, with the separator of its naming scheme; nil for names
    /// such as `onnx::Conv_284` or `const_fold_opt__12` that exporters make up.
    static func layerPath(of name: String) -> LayerPath? {
        if name.contains("::") { return nil }
        let plain = trimmed(name)
        if plain.contains("/") {
            var parts = plain.split(separator: "/").map(String.init)
            let last = parts.removeLast()
            if parts.count > 1, parts.first == "StatefulPartitionedCall" { parts.removeFirst() }
            if last.hasPrefix("ReadVariableOp") {
                while parts.count > 1, let tail = parts.last, tensorFlowOperations.contains(operation(tail)) {
                    parts.removeLast()
                }
                return LayerPath(parts, separator: "/")
            }
            guard words[last] != nil || tensorFlowSuffix(of: last) != nil, !parts.isEmpty else { return nil }
            return LayerPath(parts, separator: "/")
        }
        var parts = plain.split(separator: ".").map(String.init)
        if parts.count > 1, let last = parts.last, words[last] != nil || paddleRole(of: last) != nil {
            parts.removeLast()
            while parts.count > 1, let first = parts.first, first == "module" || first == "_orig_mod" {
                parts.removeFirst()
            }
            return LayerPath(parts, separator: ".")
        }
        if parts.count == 1, flatRole(of: plain) != nil, let cut = flatStem(of: plain) {
            return LayerPath([cut], separator: ".")
        }
        return nil
    }

    /// Whether a name says that the tensor is fixed although it stands where a parameter would.
    static func isBuffer(_ name: String) -> Bool { name.hasSuffix("buffer") }

    /// Whether a scoped name belongs to a normalization.
    static func isNormScope(_ name: String) -> Bool {
        let lowered = name.lowercased()
        return lowered.contains("layernorm") || lowered.contains("layer_norm") || lowered.contains("batchnorm")
            || lowered.contains("batch_norm") || lowered.contains("group_norm")
    }

    /// The last parts of TensorFlow's scoped names that name an operation, not a layer.
    static let tensorFlowOperations: Set<String> = [
        "Conv2D", "Conv1D", "Conv3D", "MatMul", "BiasAdd", "depthwise", "separable_conv2d", "FusedBatchNormV3",
        "FusedBatchNorm", "batchnorm", "Tensordot", "einsum", "Einsum", "Relu", "Relu6", "Softmax", "Sigmoid", "add",
        "mul", "Reshape", "Pad", "Mean", "AvgPool", "MaxPool", "concat", "Cast", "conv2d_transpose",
    ]

    private static func operation(_ part: String) -> String {
        guard let number = part.range(ofLast: "_") else { return part }
        return part[number.upperBound...].allSatisfy(\.isNumber) ? String(part[..<number.lowerBound]) : part
    }

    /// Without the `:0` of TensorFlow.
    private static func trimmed(_ name: String) -> String {
        guard let colon = name.lastIndex(of: ":"), name[name.index(after: colon)...].allSatisfy(\.isNumber),
            colon != name.startIndex
        else { return name }
        return String(name[..<colon])
    }

    /// PaddlePaddle: `fc_0.w_0`, `batch_norm_1.b_0`; the higher numbers of `w` are running statistics.
    private static func paddleRole(of last: String) -> ParameterRole? {
        switch last {
        case "w_0": .weight
        case "b_0": .bias
        case "w_1": .mean
        case "w_2": .variance
        default: nil
        }
    }

    /// tf2onnx's names for kernels that it folded a normalization into.
    private static func tensorFlowSuffix(of last: String) -> (stem: String, role: ParameterRole)? {
        for (suffix, role) in [
            ("_weights_fused_bn", ParameterRole.weight), ("_bias_fused_bn", .bias), ("_weights", .weight),
            ("_kernel", .weight), ("_bias", .bias),
        ] where last.hasSuffix(suffix) {
            return (String(last.dropLast(suffix.count)), role)
        }
        return nil
    }

    private static func flatRole(of name: String) -> ParameterRole? {
        guard let cut = name.range(ofLast: "_") else { return nil }
        return words[String(name[cut.upperBound...])]
    }

    private static func flatStem(of name: String) -> String? {
        guard let cut = name.range(ofLast: "_"), cut.lowerBound != name.startIndex else { return nil }
        return String(name[..<cut.lowerBound])
    }
}

extension String {
    /// Where a character last stands.
    func range(ofLast character: Character) -> Range<String.Index>? {
        lastIndex(of: character).map { $0..<index(after: $0) }
    }
}
