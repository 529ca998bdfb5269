import GraftCore
import GraftIR

/// A small convolutional network: two convolutions with batch normalization, a dropout, a linear head.
enum TinyNet {
    static let classes = 4

    static func tensor(_ shape: [Int], _ name: String, scale: Float, offset: Float = 0) -> Tensor {
        var random = CounterRandom(seed: 5, CounterRandom.word(name))
        return Tensor((0..<shape.reduce(1, *)).map { _ in random.gaussian() * scale + offset }, shape: shape)
    }

    static func model(dropout: Bool = false) -> Model {
        var model = Model(opset: 17)
        func weight(_ name: String, _ shape: [Int], scale: Float = 0.3, offset: Float = 0) -> ValueID {
            model.graph.addInitializer(name, tensor(shape, name, scale: scale, offset: offset))
        }
        var value = model.graph.addInput("pictures", type: .tensor(.float32, ["N", 2, 8, 8]))
        for (index, (from, to)) in [(2, 6), (6, 8)].enumerated() {
            let name = "layer\(index + 1)"
            value = model.graph.add(
                "Conv", [value, weight("\(name).conv.weight", [to, from, 3, 3])],
                attributes: ["pads": .ints([1, 1, 1, 1]), "kernel_shape": .ints([3, 3])], name: "\(name).conv")
            var variance = tensor([to], "\(name).bn.running_var", scale: 0.1, offset: 1)
            if let values = try? variance.elements(as: Float.self) { variance = Tensor(values.map { max($0, 0.5) }) }
            let parameters = [
                weight("\(name).bn.weight", [to], scale: 0.1, offset: 1), weight("\(name).bn.bias", [to], scale: 0.1),
                weight("\(name).bn.running_mean", [to], scale: 0.1),
                model.graph.addInitializer("\(name).bn.running_var", variance),
            ]
            value = model.graph.add("BatchNormalization", [value] + parameters, name: "\(name).bn")
            value = model.graph.add("Relu", [value], name: "\(name).relu")
        }
        value = model.graph.add("GlobalAveragePool", [value], name: "pool")
        value = model.graph.add("Flatten", [value], name: "flatten")
        if dropout {
            value = model.graph.add(
                "Dropout", [value, model.graph.addInitializer("ratio", Tensor(scalar: Float(0.3)))], name: "drop")
        }
        value = model.graph.add(
            "Gemm", [value, weight("fc.weight", [classes, 8]), weight("fc.bias", [classes])],
            attributes: ["transB": .int(1)], name: "fc", output: "logits")
        model.graph[value].type = .tensor(.float32, ["N", .init(integerLiteral: classes)])
        model.graph.addOutput(value)
        return model
    }

    /// Pictures whose class shows in the mean of a quarter.
    static func samples(_ count: Int, seed: UInt64) -> (pictures: Tensor, labels: [Int]) {
        var random = CounterRandom(seed: seed)
        var pictures: [Float] = []
        var labels: [Int] = []
        for _ in 0..<count {
            let label = random.below(classes)
            labels.append(label)
            for channel in 0..<2 {
                for y in 0..<8 {
                    for x in 0..<8 {
                        let inside = (y / 4) * 2 + x / 4 == label
                        pictures.append(random.gaussian() * 0.7 + (inside && channel == 0 ? 1.2 : 0))
                    }
                }
            }
        }
        return (Tensor(pictures, shape: [count, 2, 8, 8]), labels)
    }
}
