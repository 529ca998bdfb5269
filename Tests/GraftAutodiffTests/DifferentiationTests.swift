import GraftAutodiff
import GraftCore
import GraftIR
import Testing

/// A picture through Conv, BatchNormalization, Relu, GlobalAveragePool, Dropout and Gemm to a loss.
struct SmallClassifier {
    var model = Model(opset: 17)
    let w1: ValueID
    let w2: ValueID
    let b2: ValueID
    let scale: ValueID
    let logits: ValueID
    let loss: ValueID

    init() {
        func weight(_ shape: [Int]) -> Tensor { .zeros(.float32, shape: shape) }
        let x = model.graph.addInput("x", type: .tensor(.float32, ["N", 3, 8, 8]))
        let labels = model.graph.addInput("labels", type: .tensor(.int64, ["N"]))
        w1 = model.graph.addInitializer("conv.weight", weight([4, 3, 3, 3]))
        scale = model.graph.addInitializer("bn.weight", weight([4]))
        let shift = model.graph.addInitializer("bn.bias", weight([4]))
        let mean = model.graph.addInitializer("bn.mean", weight([4]))
        let variance = model.graph.addInitializer("bn.var", weight([4]))
        w2 = model.graph.addInitializer("fc.weight", weight([5, 4]))
        b2 = model.graph.addInitializer("fc.bias", weight([5]))
        let conv = model.graph.add("Conv", [x, w1], name: "conv")
        let norm = model.graph.add("BatchNormalization", [conv, scale, shift, mean, variance], name: "bn")
        let relu = model.graph.add("Relu", [norm], name: "relu")
        let pooled = model.graph.add("GlobalAveragePool", [relu], name: "pool")
        let dropped = model.graph.add("Dropout", [pooled], name: "dropout")
        let flat = model.graph.add("Flatten", [dropped], name: "flatten")
        logits = model.graph.add("Gemm", [flat, w2, b2], attributes: ["transB": .int(1)], name: "fc")
        let made = [model.graph.addValue("loss"), model.graph.addValue("probabilities")]
        model.graph.addNode(
            OperatorName("SoftmaxCrossEntropy", domain: graftDomain), name: "loss", inputs: [logits, labels],
            outputs: made)
        loss = made[0]
        model.importOpset(graftDomain, version: 1)
    }
}

@Suite struct DifferentiationTests {
    private func added(_ model: Model, since count: Int) -> [String] {
        model.graph.order.dropFirst(count).map { model.graph[$0].op.type }
    }

    @Test func frozenPartsGetNoNodes() throws {
        let net = SmallClassifier()
        var head = net.model
        let count = head.graph.nodeCount
        let gradients = try Differentiation.gradients(of: net.loss, withRespectTo: [net.w2, net.b2], in: &head)
        try Verifier.verify(head)
        #expect(Set(gradients.keys) == [net.w2, net.b2])
        #expect(added(head, since: count).allSatisfy { !$0.hasPrefix("Conv") && !$0.hasPrefix("Batch") })
        let gradient = try #require(gradients[net.w2])
        #expect(head.graph[gradient].producer != nil)

        var all = net.model
        let full = try Differentiation.gradients(
            of: net.loss, withRespectTo: [net.w1, net.scale, net.w2, net.b2], in: &all)
        try Verifier.verify(all)
        #expect(full.count == 4)
        let types = added(all, since: count)
        #expect(types.contains("ConvGradWeight"))
        #expect(!types.contains("ConvGradInput"), "nobody asks for the gradient of the picture")
        #expect(types.contains("BatchNormInferenceGrad"))
    }

    @Test func gradientsHaveTheShapesOfTheirValues() throws {
        let net = SmallClassifier()
        var model = net.model
        let gradients = try Differentiation.gradients(
            of: net.loss, withRespectTo: [net.w1, net.scale, net.w2, net.b2], in: &model)
        let types = try Inference.inferTypes(of: model)
        for (value, gradient) in gradients {
            #expect(types.shape(of: gradient)?.extents == types.shape(of: value)?.extents)
            #expect(types.elementType(of: gradient) == .float32)
        }
    }

    @Test func partialGradientsAreSummed() throws {
        var model = Model()
        let w = model.graph.addInitializer("w", Tensor(scalar: Float(3)))
        let square = model.graph.add("Mul", [w, w])
        let loss = model.graph.add("Add", [square, w])
        let gradients = try Differentiation.gradients(of: loss, withRespectTo: [w], in: &model)
        let gradient = try #require(gradients[w])
        let producer = try #require(model.graph[gradient].producer)
        #expect(model.graph[producer].op == "Sum")
        #expect(model.graph[producer].inputs.count == 3)
    }

    @Test func refusalNamesEveryOperatorAndItsPathAndChangesNothing() throws {
        var model = Model()
        let x = model.graph.addInput("x", type: .tensor(.float32, ["N", 1, 4, 4]))
        let w = model.graph.addInitializer("w", Tensor(scalar: Float(1)))
        let scaled = model.graph.add("Mul", [x, w], name: "scale")
        let volume = model.graph.add("Det", [scaled], name: "volume")
        let strange = model.graph.add(OperatorName("Mystery", domain: "example"), [volume], name: "strange")
        let loss = model.graph.add("ReduceSum", [strange], attributes: ["keepdims": .int(0)], name: "sum")
        let before = model
        let error = #expect(throws: DifferentiationError.self) {
            try Differentiation.gradients(of: loss, withRespectTo: [w], in: &model)
        }
        let obstacles = try #require(error).obstacles
        #expect(obstacles.map(\.node) == ["volume", "strange"])
        #expect(obstacles[0].path == ["w", "scale", "volume", "strange", "sum", model.graph[loss].name])
        #expect(model == before)
    }

    @Test func inputsWithoutAGradientAreRefusedNotForgotten() throws {
        var model = Model()
        let x = model.graph.addInput("x", type: .tensor(.float32, [4]))
        let bound = model.graph.addInitializer("bound", Tensor(scalar: Float(1)))
        let clipped = model.graph.add("Clip", [x, bound], name: "clip")
        let loss = model.graph.add("ReduceSum", [clipped], attributes: ["keepdims": .int(0)])
        let error = #expect(throws: DifferentiationError.self) {
            try Differentiation.gradients(of: loss, withRespectTo: [bound], in: &model)
        }
        #expect(error?.obstacles.first?.reason.contains("bound") == true)
    }

    @Test func integersAndComparisonsEndTheWay() throws {
        var model = Model()
        let w = model.graph.addInitializer("w", Tensor([Float](repeating: 1, count: 4)))
        let v = model.graph.addInitializer("v", Tensor([Float](repeating: 1, count: 4)))
        let rounded = model.graph.add("Cast", [w], attributes: ["to": .int(7)])
        let back = model.graph.add("Cast", [rounded], attributes: ["to": .int(1)])
        let mask = model.graph.add("Greater", [w, v])
        let chosen = model.graph.add("Where", [mask, back, v])
        let loss = model.graph.add("ReduceSum", [chosen], attributes: ["keepdims": .int(0)])
        let gradients = try Differentiation.gradients(of: loss, withRespectTo: [w, v], in: &model)
        #expect(Set(gradients.keys) == [v])
    }

    @Test func aBodyThatCapturesATrainableValueIsRefused() throws {
        var model = Model()
        let w = model.graph.addInitializer("w", Tensor([Float](repeating: 1, count: 4)))
        let condition = model.graph.addInput("condition", type: .tensor(.bool, []))
        var body = Graph(name: "body")
        let inner = body.addValue("w")
        body.makeCapture(inner, of: w)
        body.addOutput(body.add("Neg", [inner]))
        let y = model.graph.add(
            "If", [condition], attributes: ["then_branch": .graph(body), "else_branch": .graph(body)], name: "choice")
        let loss = model.graph.add("ReduceSum", [y], attributes: ["keepdims": .int(0)])
        let error = #expect(throws: DifferentiationError.self) {
            try Differentiation.gradients(of: loss, withRespectTo: [w], in: &model)
        }
        #expect(error?.obstacles.map(\.node) == ["choice"])
    }

    @Test func aLossMustBeOneNumber() throws {
        let net = SmallClassifier()
        var model = net.model
        #expect(throws: DifferentiationError.self) {
            try Differentiation.gradients(of: net.logits, withRespectTo: [net.w2], in: &model)
        }
    }

    @Test func scoresAreFoundBehindASoftmax() throws {
        var net = SmallClassifier()
        let soft = net.model.graph.add("Softmax", [net.logits])
        let out = net.model.graph.add("Identity", [soft], output: "out")
        net.model.graph.addOutput(out)
        let found = Differentiation.logits(of: out, in: net.model.graph)
        #expect(found.value == net.logits && found.normalisation == "Softmax")
        #expect(Differentiation.logits(of: net.logits, in: net.model.graph).normalisation == nil)
    }
}
