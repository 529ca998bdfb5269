import GraftCore
import GraftIR

/// Small networks in the styles of several exporters, with small distinct weights.
public enum SmallNetworks {
    /// Weights that differ everywhere and stay small.
    public static func ramp(_ shape: [Int], from start: Float = 0) -> Tensor {
        let count = shape.reduce(1, *)
        return Tensor((0..<count).map { start + Float($0 % 23 - 11) / 32 }, shape: shape)
    }

    /// PyTorch names: conv1, bn1, two stages of residual blocks, global pooling, `fc` with one row a class.
    public static func residual(classes: Int = 4, scoped: Bool = true, activation: String? = nil) -> Model {
        var model = Model(opset: 17)
        var graph = Graph(name: "main_graph")
        var value = graph.addInput("input", type: .tensor(.float32, ["N", 3, 16, 16]))
        func conv(_ path: String, _ input: ValueID, from: Int, to: Int) -> ValueID {
            let weight = graph.addInitializer("\(path).weight", ramp([to, from, 3, 3]))
            return graph.add(
                "Conv", [input, weight], attributes: ["kernel_shape": .ints([3, 3]), "pads": .ints([1, 1, 1, 1])],
                name: scoped ? "/\(path.replacing(".", with: "/"))/Conv" : "")
        }
        func norm(_ path: String, _ input: ValueID, _ width: Int) -> ValueID {
            let parts = [("weight", Float(1)), ("bias", 0), ("running_mean", 0.1), ("running_var", 1)].map {
                part, start in
                graph.addInitializer(
                    "\(path).\(part)", Tensor([Float](repeating: start, count: width), shape: [width]))
            }
            return graph.add("BatchNormalization", [input] + parts, name: scoped ? "/\(path)/BatchNormalization" : "")
        }
        value = graph.add(
            "Relu", [norm("bn1", conv("conv1", value, from: 3, to: 8), 8)], name: scoped ? "/relu/Relu" : "")
        for stage in 1...2 {
            for block in 0..<2 {
                let path = "layer\(stage).\(block)"
                let entry = value
                let scope = scoped ? "/layer\(stage)/\(path)" : ""
                value = norm("\(path).bn1", conv("\(path).conv1", value, from: 8, to: 8), 8)
                value = graph.add("Relu", [value], name: scoped ? "\(scope)/Relu" : "")
                value = norm("\(path).bn2", conv("\(path).conv2", value, from: 8, to: 8), 8)
                value = graph.add("Add", [value, entry], name: scoped ? "\(scope)/Add" : "")
                value = graph.add("Relu", [value], name: scoped ? "\(scope)/Relu_1" : "")
            }
        }
        value = graph.add("GlobalAveragePool", [value], name: scoped ? "/avgpool/GlobalAveragePool" : "")
        value = graph.add("Flatten", [value], attributes: ["axis": .int(1)], name: scoped ? "/Flatten" : "")
        let weight = graph.addInitializer("fc.weight", ramp([classes, 8]))
        let bias = graph.addInitializer("fc.bias", ramp([classes]))
        value = graph.add(
            "Gemm", [value, weight, bias], attributes: ["transB": .int(1)], name: scoped ? "/fc/Gemm" : "",
            output: activation == nil ? "logits" : "scores", type: .tensor(.float32, ["N", Dimension(.fixed(classes))]))
        if let activation {
            value = graph.add(
                OperatorName(activation), [value], name: "/\(activation)", output: "logits",
                type: .tensor(.float32, ["N", Dimension(.fixed(classes))]))
        }
        graph.addOutput(value)
        model.graph = graph
        return model
    }

    /// Keras names: separable blocks, pooling, a 1x1 convolution, a reshape that spells out the classes, softmax.
    public static func keras(classes: Int = 5) -> Model {
        var model = Model(opset: 13, irVersion: 7)
        var graph = Graph(name: "keras")
        var value = graph.addInput("input", type: .tensor(.float32, ["N", 3, 16, 16]))
        func layer(
            _ op: OperatorName, _ name: String, _ inputs: [ValueID], _ attributes: Attributes = [:], output: String = ""
        ) -> ValueID {
            let made = graph.add(op, inputs, attributes: attributes, name: name, output: output)
            if let node = graph[made].producer { graph[node].metadata["keras.layer"] = name }
            return made
        }
        func conv(_ name: String, _ input: ValueID, shape: [Int], group: Int = 1) -> ValueID {
            let weight = graph.addInitializer("\(name)/kernel", ramp(shape))
            let bias = graph.addInitializer("\(name)/bias", ramp([shape[0]]))
            let pads = shape[2] / 2
            return layer(
                "Conv", name, [input, weight, bias],
                [
                    "group": .int(group), "kernel_shape": .ints([shape[2], shape[3]]),
                    "pads": .ints([pads, pads, pads, pads]),
                ])
        }
        value = layer("Relu", "conv1_relu", [conv("conv1", value, shape: [6, 3, 3, 3])])
        for number in 1...3 {
            value = layer(
                "Relu", "conv_dw_\(number)_relu", [conv("conv_dw_\(number)", value, shape: [6, 1, 3, 3], group: 6)])
            value = layer("Relu", "conv_pw_\(number)_relu", [conv("conv_pw_\(number)", value, shape: [6, 6, 1, 1])])
        }
        value = layer("GlobalAveragePool", "global_average_pooling2d", [value])
        value = conv("conv_preds", value, shape: [classes, 6, 1, 1])
        let shape = graph.addInitializer("reshape_shape", Tensor([Int64(-1), Int64(classes)]))
        value = layer("Reshape", "reshape_2", [value, shape])
        value = layer("Softmax", "predictions", [value], ["axis": .int(1)], output: "predictions")
        graph[value].type = .tensor(.float32, ["N", Dimension(.fixed(classes))])
        graph.addOutput(value)
        model.graph = graph
        return model
    }

    /// PaddlePaddle's style: weights in `Constant` nodes, a `MatMul` and an `Add`, softmax, names of no scope.
    public static func constants(classes: Int = 2) -> Model {
        var model = Model(opset: 11, irVersion: 7)
        var graph = Graph(name: "paddle")
        let input = graph.addInput("x", type: .tensor(.float32, ["N", 4, 6, 6]))
        func constant(_ name: String, _ tensor: Tensor) -> ValueID {
            graph.add("Constant", [], attributes: ["value": .tensor(tensor)], output: name)
        }
        let kernel = constant("conv1_weights", ramp([5, 4, 1, 1]))
        let mapped = graph.add("Relu", [graph.add("Conv", [input, kernel], name: "Conv_0")], name: "Relu_0")
        let pooled = graph.add("GlobalAveragePool", [mapped], name: "Pool_0")
        let flat = graph.add("Flatten", [pooled], name: "Flatten_0")
        let product = graph.add("MatMul", [flat, constant("fc_0.w_0", ramp([5, classes]))], name: "MatMul_0")
        let sum = graph.add("Add", [product, constant("fc_0.b_0", ramp([classes]))], name: "Add_0")
        let soft = graph.add(
            "Softmax", [sum], attributes: ["axis": .int(-1)], name: "Softmax_0", output: "probabilities")
        graph[soft].type = .tensor(.float32, ["N", Dimension(.fixed(classes))])
        graph.addOutput(soft)
        model.graph = graph
        return model
    }

    /// SqueezeNet's style: the classifier is a 1x1 convolution before the pooling.
    public static func convolutionBeforePooling(classes: Int = 6) -> Model {
        var model = Model(opset: 9, irVersion: 4)
        var graph = Graph(name: "squeeze")
        let input = graph.addInput("data", type: .tensor(.float32, [1, 3, 12, 12]))
        let stem = graph.add(
            "Conv", [input, graph.addInitializer("features.0.weight", ramp([7, 3, 3, 3]))],
            attributes: ["kernel_shape": .ints([3, 3])])
        let active = graph.add("Relu", [stem])
        let scores = graph.add(
            "Conv",
            [
                active, graph.addInitializer("classifier.1.weight", ramp([classes, 7, 1, 1])),
                graph.addInitializer("classifier.1.bias", ramp([classes])),
            ], attributes: ["kernel_shape": .ints([1, 1])])
        let pooled = graph.add("GlobalAveragePool", [graph.add("Relu", [scores])])
        let flat = graph.add("Flatten", [pooled])
        let soft = graph.add("Softmax", [flat], attributes: ["axis": .int(1)], output: "softmaxout_1")
        graph[soft].type = .tensor(.float32, [1, Dimension(.fixed(classes))])
        graph.addOutput(soft)
        model.graph = graph
        return model
    }

    /// CNTK's style: the classifier's matrix is stored in another shape and reshaped in the graph.
    public static func reshapedMatrix(classes: Int = 10) -> Model {
        var model = Model(opset: 8, irVersion: 4)
        var graph = Graph(name: "cntk")
        let input = graph.addInput("Input3", type: .tensor(.float32, [1, 2, 3, 3]))
        let flat = graph.add(
            "Reshape", [input, graph.addInitializer("flat_shape", Tensor([Int64(1), 18]))], name: "Times_reshape0")
        let matrix = graph.add(
            "Reshape",
            [
                graph.addInitializer("Parameter193", ramp([2, 3, 3, classes])),
                graph.addInitializer("matrix_shape", Tensor([Int64(18), Int64(classes)])),
            ], name: "Times_reshape1")
        let product = graph.add("MatMul", [flat, matrix], name: "Times212")
        let sum = graph.add(
            "Add", [product, graph.addInitializer("Parameter194", ramp([1, classes]))], name: "Plus214",
            output: "Plus214_Output_0", type: .tensor(.float32, [1, Dimension(.fixed(classes))]))
        graph.addOutput(sum)
        model.graph = graph
        return model
    }

    /// A detector: two convolutions whose results are joined before the output.
    public static func twoHeads() -> Model {
        var model = Model(opset: 13)
        var graph = Graph(name: "detector")
        let input = graph.addInput("images", type: .tensor(.float32, [1, 3, 8, 8]))
        let body = graph.add("Conv", [input, graph.addInitializer("stem.weight", ramp([4, 3, 1, 1]))], name: "Conv_0")
        let shape = graph.addInitializer("shape", Tensor([Int64(1), 3, -1]))
        let parts = ["cls", "reg"].map { part in
            let made = graph.add(
                "Conv", [body, graph.addInitializer("head.\(part).weight", ramp([3, 4, 1, 1]))], name: "Conv_\(part)")
            return graph.add("Reshape", [made, shape], name: "Reshape_\(part)")
        }
        graph.addOutput(graph.add("Concat", parts, attributes: ["axis": .int(2)], output: "output"))
        model.graph = graph
        return model
    }

    /// A segmentation network: a 1x1 classifier on a map of half the size, resized to the input.
    public static func segmentation(classes: Int = 21) -> Model {
        var model = Model(opset: 13)
        var graph = Graph(name: "segmentation")
        let input = graph.addInput("image", type: .tensor(.float32, [1, 3, 16, 16]))
        let half = graph.add(
            "Conv", [input, graph.addInitializer("stem.weight", ramp([6, 3, 3, 3]))],
            attributes: ["kernel_shape": .ints([3, 3]), "strides": .ints([2, 2]), "pads": .ints([1, 1, 1, 1])],
            name: "/stem/Conv", type: .tensor(.float32, [1, 6, 8, 8]))
        let active = graph.add("Relu", [half], name: "/relu/Relu", type: .tensor(.float32, [1, 6, 8, 8]))
        let scores = graph.add(
            "Conv", [active, graph.addInitializer("classifier.weight", ramp([classes, 6, 1, 1]))],
            name: "/classifier/Conv", type: .tensor(.float32, [1, Dimension(.fixed(classes)), 8, 8]))
        let sizes = graph.addInitializer("sizes", Tensor([Int64(1), Int64(classes), 16, 16]))
        let resized = graph.add(
            "Resize", [scores, nil, nil, sizes], attributes: ["mode": .string("linear")], name: "/Resize",
            output: "mask", type: .tensor(.float32, [1, Dimension(.fixed(classes)), 16, 16]))
        graph.addOutput(resized)
        model.graph = graph
        return model
    }
}

extension SmallNetworks {
    /// Three convolutions of stride 2 with residual blocks between them, for tests of feature maps.
    ///
    /// - Parameters:
    ///   - ending: `classifier` (pooling, flattening, `fc`), `map` (the last feature map), or `vector` (the pooled one).
    ///   - side: the extent of the picture; nil where it is open.
    ///   - isChannelsLast: whether the picture, and a map that is the output, have their channels last.
    public static func pyramid(
        ending: String = "classifier", side: Int? = 32, isChannelsLast: Bool = false, opset: Int = 17
    ) -> Model {
        var model = Model(opset: opset)
        var graph = Graph(name: "pyramid")
        let (height, width) = (
            side.map { Dimension(.fixed($0)) } ?? "H", side.map { Dimension(.fixed($0)) } ?? "W"
        )
        var value = graph.addInput(
            "input", type: .tensor(.float32, isChannelsLast ? ["N", height, width, 3] : ["N", 3, height, width]))
        if isChannelsLast {
            value = graph.add("Transpose", [value], attributes: ["perm": .ints([0, 3, 1, 2])], name: "first")
        }
        var channels = 3
        for (index, count) in [4, 6, 8].enumerated() {
            let name = "stage\(index + 1)"
            func conv(_ name: String, _ input: ValueID, from: Int, stride: Int) -> ValueID {
                let weight = graph.addInitializer("\(name).weight", ramp([count, from, 3, 3]))
                let made = graph.add(
                    "Conv", [input, weight],
                    attributes: [
                        "kernel_shape": .ints([3, 3]), "pads": .ints([1, 1, 1, 1]), "strides": .ints([stride, stride]),
                    ], name: name)
                return graph.add("Relu", [made], name: "\(name).relu")
            }
            let entry = conv("\(name).down", value, from: channels, stride: 2)
            let inner = conv("\(name).inner", entry, from: count, stride: 1)
            value = graph.add("Add", [entry, inner], name: "\(name).add", output: "\(name).out")
            channels = count
        }
        if ending == "map" {
            if isChannelsLast {
                value = graph.add("Transpose", [value], attributes: ["perm": .ints([0, 2, 3, 1])], name: "last")
            }
        } else {
            value = graph.add("GlobalAveragePool", [value], name: "pool")
            value = graph.add("Flatten", [value], name: "flatten")
        }
        if ending == "classifier" {
            let weight = graph.addInitializer("fc.weight", ramp([4, 8]))
            let bias = graph.addInitializer("fc.bias", ramp([4]))
            value = graph.add(
                "Gemm", [value, weight, bias], attributes: ["transB": .int(1)], name: "fc", output: "logits")
        }
        graph.addOutput(value)
        model.graph = graph
        return model
    }
}
