import GraftCore
import GraftIR
import GraftSurgery
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct HeadSwapTests {
    private static let styles: [(name: String, model: Model, weight: String, bias: String)] = [
        ("torch", SmallNetworks.residual(), "fc.weight", "fc.bias"),
        ("softmax", SmallNetworks.residual(activation: "Softmax"), "fc.weight", "fc.bias"),
        ("keras", SmallNetworks.keras(), "conv_preds/kernel", "conv_preds/bias"),
        ("paddle", SmallNetworks.constants(), "fc_0.w_0", "fc_0.b_0"),
        ("squeeze", SmallNetworks.convolutionBeforePooling(), "classifier.1.weight", "classifier.1.bias"),
        ("cntk", SmallNetworks.reshapedMatrix(), "Parameter193", "Parameter194"),
        ("dense", SmallNetworks.segmentation(), "classifier.weight", "head.bias"),
    ]

    @Test(arguments: 0..<7)
    func everyStyleGetsItsNewClasses(index: Int) throws {
        let style = Self.styles[index]
        let old = try HeadFinder(style.model).head()
        let edited = try checked(HeadSwap.self, style.model, HeadOptions(classes: .names(["a", "b", "c"])))
        let head = try HeadFinder(edited).head()
        #expect(head.classCount == 3 && head.node == old.node && head.kind == old.kind)
        #expect(try edited.annotations().labels == ["a", "b", "c"])
        #expect(try edited.annotations().head?.classes == 3)
        #expect(try edited.annotations().history.last?["pass"] == "head")
        let width = old.featureCount
        #expect(try floats(style.weight, in: edited).count == 3 * width)
        #expect(try floats(style.bias, in: edited) == [0, 0, 0])
        let output = edited.graph[edited.graph.outputs[0]]
        #expect(output.type?.shape?[1].extent == .fixed(3))
        let types = try Inference.inferTypes(of: edited)
        #expect(types.conflicts == [])
        #expect(types.shape(of: edited.graph.outputs[0])?[1].extent == .fixed(3))
        // Nothing before the features is touched.
        let features = try #require(try edited.annotations().head?.features)
        #expect(features == style.model.graph[old.features].name)
        for id in style.model.graph.order where HeadFinder.body(of: style.model, before: old.features).contains(id) {
            #expect(edited.graph[id] == style.model.graph[id])
            for input in style.model.graph[id].inputs.compactMap({ $0 }) {
                #expect(edited.graph[input].initializer == style.model.graph[input].initializer)
            }
        }
    }

    @Test func initializationsHaveTheirBounds() throws {
        let model = SmallNetworks.residual()
        var options = HeadOptions(classes: .count(50))
        options.seed = 3
        let kaiming = try floats("fc.weight", in: checked(HeadSwap.self, model, options))
        let bound = 1 / Float(8).squareRoot()
        #expect(kaiming.allSatisfy { abs($0) <= bound } && kaiming.contains { abs($0) > 0.9 * bound })
        options.initialization = .xavier
        let xavier = try floats("fc.weight", in: checked(HeadSwap.self, model, options))
        #expect(xavier.allSatisfy { abs($0) <= (Float(6) / 58).squareRoot() })
        options.initialization = .normal(0.01)
        let normal = try floats("fc.weight", in: checked(HeadSwap.self, model, options))
        let deviation = (normal.reduce(0) { $0 + $1 * $1 } / Float(normal.count)).squareRoot()
        #expect(abs(deviation - 0.01) < 0.001)
        options.initialization = .zeros
        #expect(try floats("fc.weight", in: checked(HeadSwap.self, model, options)).allSatisfy { $0 == 0 })
        options.initialization = .kaiming
        options.seed = 4
        #expect(try floats("fc.weight", in: checked(HeadSwap.self, model, options)) != kaiming)
    }

    @Test func keptClassesCarryTheirWeightsInEveryStyle() throws {
        for style in Self.styles {
            var model = style.model
            let old = try HeadFinder(model).head()
            let labels = (0..<old.classCount).map { "class \($0)" }
            try model.updateAnnotations { $0.labels = labels }
            var options = HeadOptions(classes: .names(["new", "class 1", "other", "class 0"]))
            options.keepsNamedClasses = true
            let edited = try checked(HeadSwap.self, model, options)
            let (rows, biases) = try Self.rows(of: edited)
            let (oldRows, oldBiases) = try Self.rows(of: model)
            #expect(rows[1] == oldRows[1] && rows[3] == oldRows[0], "\(style.name)")
            #expect(biases[1] == oldBiases[1] && biases[3] == oldBiases[0] && biases[0] == 0, "\(style.name)")
            #expect(rows[0] != oldRows[0])
        }
    }

    /// The weights of each class, and the biases, whatever the layout.
    private static func rows(of model: Model) throws -> ([[Float]], [Float]) {
        let head = try HeadFinder(model).head()
        let table = ParameterTable(model.graph)
        let parameters = table.parameters(of: head.node) + (head.biasNode.map { table.parameters(of: $0) } ?? [])
        var rows: [[Float]] = []
        var biases = [Float](repeating: 0, count: head.classCount)
        for id in parameters {
            let values = try #require(model.graph.constantTensor(of: id)).floats()
            if table[id] == .bias {
                biases = values
                continue
            }
            for index in 0..<head.classCount {
                switch head.form {
                case .gemmRows, .convolution:
                    rows.append(Array(values[(index * head.featureCount)..<((index + 1) * head.featureCount)]))
                case .gemmColumns, .matMul:
                    rows.append((0..<head.featureCount).map { values[$0 * head.classCount + index] })
                }
            }
        }
        return (rows, biases)
    }

    @Test func meansClassifySeparatedFeatures() throws {
        var statistics = FeatureStatistics(features: 8, classes: 3, keepsProducts: true)
        var random = CounterRandom(seed: 5)
        var samples: [([Float], Int)] = []
        for index in 0..<90 {
            let label = index % 3
            let sample = (0..<8).map { Float($0 % 3 == label ? 2 : 0) + 0.3 * random.gaussian() }
            samples.append((sample, label))
            try statistics.add(sample, label: label)
        }
        for initialization in [HeadInitialization.means(statistics), .ridge(statistics, penalty: 1e-3)] {
            var options = HeadOptions(classes: .count(3))
            options.initialization = initialization
            let edited = try checked(HeadSwap.self, SmallNetworks.residual(), options)
            let (rows, biases) = try Self.rows(of: edited)
            for (sample, label) in samples {
                let scores = (0..<3).map { c in zip(rows[c], sample).reduce(biases[c]) { $0 + $1.0 * $1.1 } }
                #expect(scores.indices.max { scores[$0] < scores[$1] } == label)
            }
        }
    }

    @Test func ridgeSolvesTheNormalEquations() throws {
        // Two features, two classes, by hand: the least-squares line through targets 1 and 0.
        var statistics = FeatureStatistics(features: 1, classes: 2, keepsProducts: true)
        for (feature, label) in [(Float(1), 0), (2, 0), (4, 1), (5, 1)] {
            try statistics.add([feature], label: label)
        }
        var model = Model(opset: 13)
        let input = model.graph.addInput("x", type: .tensor(.float32, ["N", 1]))
        let weight = model.graph.addInitializer("w", SmallNetworks.ramp([2, 1]))
        model.graph.addOutput(model.graph.add("Gemm", [input, weight], attributes: ["transB": .int(1)], name: "fc"))
        var options = HeadOptions(classes: .count(2))
        options.initialization = .ridge(statistics, penalty: 0)
        let edited = try checked(HeadSwap.self, model, options)
        // Covariance -3, variance 10: slope -0.3 for class 0; mean 3, share 0.5.
        let weights = try floats("w", in: edited)
        let biases = try floats("head.bias", in: edited)
        for (value, expected) in zip(weights + biases, [Float(-0.3), 0.3, 1.4, -0.4]) {
            #expect(abs(value - expected) < 1e-6)
        }
    }

    @Test func hiddenLayerAndDropoutStandBeforeTheClassifier() throws {
        for style in Self.styles where style.name != "dense" {
            var options = HeadOptions(classes: .count(3))
            options.hidden = 16
            options.dropout = 0.25
            let edited = try checked(HeadSwap.self, style.model, options)
            let types = try Inference.inferTypes(of: edited)
            #expect(types.conflicts == [])
            let tree = try LayerTree(edited)
            let weights = tree.headParameters.filter { tree.table[$0] == .weight }
            #expect(weights.count == 2, "\(style.name): \(tree.headParameters.map { edited.graph[$0].name })")
            #expect(tree.head?.featureCount == 16)
            #expect(edited.graph.order.contains { edited.graph[$0].op.isONNX("Dropout") })
            // A second swap replaces only the last layer and keeps the tap.
            let again = try checked(HeadSwap.self, edited, HeadOptions(classes: .count(7)))
            #expect(try HeadFinder(again).head().classCount == 7)
        }
    }

    @Test func activationsCanBeChosen() throws {
        let expected: [(HeadActivation, String?)] = [
            (.same, "Softmax"), (.none, nil), (.softmax, "Softmax"), (.sigmoid, "Sigmoid"),
        ]
        for (wanted, type) in expected {
            for model in [
                SmallNetworks.residual(activation: "Softmax"), SmallNetworks.keras(), SmallNetworks.constants(),
            ] {
                var options = HeadOptions(classes: .count(3))
                options.activation = wanted
                let edited = try checked(HeadSwap.self, model, options)
                let head = try HeadFinder(edited).head()
                #expect(head.activation.map { edited.graph[$0].op.type } == type)
                #expect(try Inference.inferTypes(of: edited).conflicts == [])
                let marker = try #require(try edited.annotations().head)
                #expect(edited.graph.value(named: marker.logits) == head.logits)
            }
        }
        for (wanted, type) in [(HeadActivation.softmax, "Softmax"), (.sigmoid, "Sigmoid")] {
            var options = HeadOptions(classes: .count(3))
            options.activation = wanted
            let edited = try checked(HeadSwap.self, SmallNetworks.residual(), options)
            let head = try HeadFinder(edited).head()
            #expect(head.activation.map { edited.graph[$0].op.type } == type)
            #expect(edited.graph[edited.graph.outputs[0]].name == "logits")
            let marker = try #require(try edited.annotations().head)
            #expect(edited.graph.value(named: marker.logits) == head.logits)
        }
    }

    @Test func biasesCanStartFromTheClassFrequencies() throws {
        var options = HeadOptions(classes: .count(2))
        options.bias = .logPrior([1, 3])
        let edited = try checked(HeadSwap.self, SmallNetworks.residual(), options)
        let biases = try floats("fc.bias", in: edited)
        #expect(abs(biases[1] - biases[0] - 1.0986123) < 1e-5)
    }

    @Test func annotationsOfTheBodyStayAndTheHeadIsThawed() throws {
        var model = SmallNetworks.residual()
        model.metadata["names"] = "['a', 'b', 'c', 'd']"
        try model.updateAnnotations {
            $0.frozen = ["conv1.weight", "fc.weight", "fc.bias"]
            $0.assign("conv1.weight", to: RateGroup("slow", multiplier: 0.1))
        }
        let edited = try checked(HeadSwap.self, model, HeadOptions(classes: .count(3)))
        let annotations = try edited.annotations()
        #expect(annotations.frozen == ["conv1.weight"])
        #expect(annotations.group(of: "conv1.weight")?.multiplier == 0.1)
        #expect(annotations.labels == nil && edited.classLabels == nil, "labels of old classes are gone")
    }

    @Test func impossibleOptionsAreRefused() throws {
        let model = SmallNetworks.residual()
        var tooFew = HeadOptions(classes: .count(0))
        #expect(throws: HeadSwapError.self) { try HeadSwap.patch(for: model, tooFew) }
        tooFew.classes = .names(["a", "a"])
        #expect(throws: HeadSwapError.self) { try HeadSwap.patch(for: model, tooFew) }
        var keeping = HeadOptions(classes: .names(["a", "b"]))
        keeping.keepsNamedClasses = true
        #expect(throws: HeadSwapError.noLabels) { try HeadSwap.patch(for: model, keeping) }
        keeping.presentLabels = ["a"]
        #expect(throws: HeadSwapError.self) { try HeadSwap.patch(for: model, keeping) }
        var features = HeadOptions(classes: .count(2))
        features.initialization = .means(FeatureStatistics(features: 5, classes: 2))
        #expect(throws: HeadSwapError.self) { try HeadSwap.patch(for: model, features) }
        #expect(throws: HeadError.self) {
            try HeadSwap.patch(for: SmallNetworks.twoHeads(), HeadOptions(classes: .count(2)))
        }
    }

    @Test func tiedWeightsOfOthersStay() throws {
        var model = SmallNetworks.residual()
        // Another output reads the same matrix.
        let weight = try #require(model.graph.value(named: "fc.weight"))
        model.graph.addOutput(model.graph.add("Neg", [weight], name: "other", output: "negated"))
        let edited = try checked(HeadSwap.self, model, HeadOptions(classes: .count(3), place: "/fc/Gemm"))
        #expect(try floats("fc.weight", in: edited) == floats("fc.weight", in: model))
        #expect(try floats("head.weight", in: edited).count == 24)
    }
}
