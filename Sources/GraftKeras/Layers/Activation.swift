import GraftCore
import GraftIR

/// Activation functions by name, as the settings `activation` and `function` give them.
enum Activation {
    /// Emits the layer's `activation`.
    static func apply(
        _ layer: LayerConfig, to input: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard let setting = layer["activation"] else { return input }
        guard let name = layer.name(of: "activation") else {
            throw layer.malformed("activation", expected: "the name of a function")
        }
        // An activation that is a layer of its own has settings.
        if let config = setting["config"], let className = setting["class_name"]?.string, config.object != nil,
            ActivationLayers.classNames.contains(className)
        {
            let inner = LayerConfig(className: className, name: layer.name, settings: config, file: layer.file)
            return try ActivationLayers.lower(inner, [input], &builder)[0]
        }
        return try apply(named: name, layer, to: input, &builder)
    }

    /// Emits the function of that name.
    static func apply(
        named name: String, _ layer: LayerConfig, to input: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let shape = input.storedShape
        func emit(_ op: String, _ values: [ValueID?], _ attributes: Attributes = Attributes()) -> ImportedTensor {
            ImportedTensor(
                value: builder.emit(op, values, attributes, shape: shape), shape: input.shape, layout: input.layout)
        }
        func scalar(_ name: String, _ value: Float) -> ValueID { builder.constant(name, Tensor(scalar: value)) }
        let x = input.value
        switch name {
        case "linear": return input
        case "relu": return emit("Relu", [x])
        case "relu6": return emit("Clip", [x, scalar("minimum", 0), scalar("maximum", 6)])
        case "sigmoid": return emit("Sigmoid", [x])
        case "tanh": return emit("Tanh", [x])
        case "elu": return emit("Elu", [x], ["alpha": .float(1)])
        case "celu": return emit("Celu", [x], ["alpha": .float(1)])
        case "selu": return emit("Selu", [x], ["alpha": .float(1.673_263_2), "gamma": .float(1.050_701)])
        case "softplus": return emit("Softplus", [x])
        case "softsign": return emit("Softsign", [x])
        case "exponential": return emit("Exp", [x])
        case "leaky_relu": return emit("LeakyRelu", [x], ["alpha": .float(0.2)])
        case "hard_sigmoid":
            // Keras 2: 0.2 x + 0.5; Keras 3: relu6(x + 3) / 6. Both are clipped to 0...1.
            return emit("HardSigmoid", [x], ["alpha": .float(builder.isKeras2 ? 0.2 : 1 / 6), "beta": .float(0.5)])
        case "hard_silu", "hard_swish": return emit("HardSwish", [x])
        case "hard_tanh": return emit("Clip", [x, scalar("minimum", -1), scalar("maximum", 1)])
        case "silu", "swish": return emit("Mul", [x, emit("Sigmoid", [x]).value])
        case "mish": return emit("Mul", [x, emit("Tanh", [emit("Softplus", [x]).value]).value])
        case "gelu":
            let scaled = emit("Div", [x, scalar("sqrt2", 2.0.squareRoot().float)])
            let cumulative = emit("Add", [emit("Erf", [scaled.value]).value, scalar("one", 1)])
            return emit("Mul", [emit("Mul", [x, cumulative.value]).value, scalar("half", 0.5)])
        case "softmax", "log_softmax":
            return emit(
                name == "softmax" ? "Softmax" : "LogSoftmax", [x], ["axis": .int(try axis(-1, of: input, layer))])
        default: throw layer.unsupported("the activation \"\(name)\"")
        }
    }

    /// The axis of the IR that an axis of Keras is.
    ///
    /// Over flattened features a softmax does not depend on their order.
    static func axis(_ axis: Int, of input: ImportedTensor, _ layer: LayerConfig) throws -> Int {
        guard let stored = input.storedAxis(axis) else {
            throw layer.malformed("axis", expected: "an axis of the input")
        }
        return stored
    }
}

extension Double {
    fileprivate var float: Float { Float(self) }
}

/// Activation, ReLU, LeakyReLU, ELU, PReLU and Softmax.
enum ActivationLayers: LayerFamily {
    static let classNames = ["Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        func emit(_ op: String, _ values: [ValueID?], _ attributes: Attributes = Attributes()) -> ImportedTensor {
            ImportedTensor(
                value: builder.emit(op, values, attributes, shape: input.storedShape), shape: input.shape,
                layout: input.layout)
        }
        switch layer.className {
        case "Activation": return [try Activation.apply(layer, to: input, &builder)]
        case "ReLU": return [try rectifier(layer, input, &builder)]
        case "LeakyReLU":
            // `alpha` in Keras 2, `negative_slope` in Keras 3.
            let slope = try layer.float("negative_slope", default: layer.float("alpha", default: 0.3))
            return [emit("LeakyRelu", [input.value], ["alpha": .float(slope)])]
        case "ELU": return [emit("Elu", [input.value], ["alpha": .float(try layer.float("alpha", default: 1))])]
        case "PReLU": return [try parametric(layer, input, &builder)]
        default: return [try softmax(layer, input, &builder)]
        }
    }

    /// `max_value` from `max_value` on, x down to `threshold`, and `negative_slope * (x - threshold)` below.
    private static func rectifier(
        _ layer: LayerConfig, _ input: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let (slope, threshold) = (
            try layer.float("negative_slope", default: 0), try layer.float("threshold", default: 0)
        )
        let maximum = layer["max_value"]?.double.map { Float($0) }
        let x = input.value
        func emit(_ op: String, _ values: [ValueID?], _ attributes: Attributes = Attributes()) -> ValueID {
            builder.emit(op, values, attributes, shape: input.storedShape)
        }
        func scalar(_ name: String, _ value: Float) -> ValueID { builder.constant(name, Tensor(scalar: value)) }
        let value: ValueID
        if threshold == 0 {
            switch (slope, maximum) {
            case (0, nil): value = emit("Relu", [x])
            case (0, let maximum?): value = emit("Clip", [x, scalar("minimum", 0), scalar("maximum", maximum)])
            case (_, nil): value = emit("LeakyRelu", [x], ["alpha": .float(slope)])
            case (_, let maximum?):
                let leaky = emit("LeakyRelu", [x], ["alpha": .float(slope)])
                value = emit("Min", [leaky, scalar("maximum", maximum)])
            }
        } else {
            let limit = scalar("threshold", threshold)
            let above = maximum.map { emit("Min", [x, scalar("maximum", $0)]) } ?? x
            let below = emit("Mul", [emit("Sub", [x, limit]), scalar("slope", slope)])
            let isAbove = builder.emit("GreaterOrEqual", [x, limit], shape: input.storedShape)
            builder.graph[isAbove].type = .tensor(.bool, builder.graph[isAbove].shape)
            value = emit("Where", [isAbove, above, below])
            builder.graph[value].type = builder.graph[x].type
        }
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }

    /// One slope for each element, shared along `shared_axes`; ONNX broadcasts it against the input.
    private static func parametric(
        _ layer: LayerConfig, _ input: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard let alpha = builder.weightShape("alpha"), alpha.count == input.rank - 1 else {
            throw KerasError.weights(path: layer.file, layer: layer.name, reason: "its alpha does not fit its input")
        }
        var input = input
        let layout: WeightLayout
        switch input.layout {
        case .channelsFirst:
            layout = WeightLayout(
                view: alpha, permutation: [2, 0, 1], shape: [alpha[2], alpha[0], alpha[1]], kerasShape: alpha)
        case .flattened:
            input = builder.plain(input)
            layout = .identity(alpha)
        case .plain: layout = .identity(alpha)
        }
        let slope = try builder.weight("alpha", layout)
        let value = builder.emit("PRelu", [input.value, slope], shape: input.storedShape)
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }

    private static func softmax(
        _ layer: LayerConfig, _ input: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let axis = layer["axis"]
        guard let number = axis == nil ? -1 : axis?.int ?? (axis?.array?.count == 1 ? axis?[0]?.int : nil) else {
            throw layer.unsupported("a softmax over several axes")
        }
        let stored = try Activation.axis(number, of: input, layer)
        let value = builder.emit("Softmax", [input.value], ["axis": .int(stored)], shape: input.storedShape)
        return ImportedTensor(value: value, shape: input.shape, layout: input.layout)
    }
}
