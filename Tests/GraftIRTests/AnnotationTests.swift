import GraftCore
import GraftIR
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct AnnotationTests {
    private func annotated() -> Annotations {
        var annotations = Annotations()
        annotations.frozen = ["conv1.weight", "bn1.weight"]
        annotations.assign("fc.weight", to: RateGroup("head", multiplier: 2))
        annotations.assign("fc.bias", to: RateGroup("head no-decay", multiplier: 2, weightDecay: 0))
        annotations.defaultBatchNorm = .frozen
        annotations.batchNorm["bn1.running_mean"] = BatchNormMode(
            trainsAffine: false, statistics: .batch, updatesStatistics: false)
        annotations.labels = ["cat", "dog, small", "Käse"]
        annotations.preprocessing = ["size": [224, 224]]
        annotations.head = HeadMarker(node: "/fc/Gemm", features: "flat", logits: "logits", classes: 3)
        annotations.history = [["pass": "head", "seed": 7]]
        return annotations
    }

    @Test func whatIsWrittenIsReadBack() throws {
        var model = SmallNetworks.residual()
        model.setAnnotations(annotated())
        #expect(try model.annotations() == annotated())
        #expect(model.metadata["graft.frozen"] == #"["conv1.weight","bn1.weight"]"#)
        #expect(model.metadata["graft.version"] == "1")
        model.setAnnotations(Annotations())
        #expect(model.metadata.isEmpty)
    }

    @Test func otherMetadataAndUnknownMembersStay() throws {
        var model = SmallNetworks.residual()
        model.metadata["author"] = "someone"
        model.metadata["graft.future"] = "{1"
        model.metadata["graft.head"] =
            #"{"node":"a","features":"b","logits":"c","classes":2,"kind":"special"}"#
        try model.updateAnnotations { $0.labels = ["x", "y"] }
        #expect(model.metadata["author"] == "someone")
        #expect(model.metadata["graft.future"] == "{1")
        #expect(model.metadata["graft.head"]?.contains(#""kind":"special""#) == true)
    }

    @Test func aTextThatSaysTheSameKeepsItsLayout() throws {
        var model = SmallNetworks.residual()
        model.metadata["graft.labels"] = "[ \"a\",\n \"b\" ]"
        try model.updateAnnotations { $0.frozen = ["conv1.weight"] }
        #expect(model.metadata["graft.labels"] == "[ \"a\",\n \"b\" ]")
    }

    @Test(arguments: [
        ("graft.frozen", "{"), ("graft.frozen", "[1]"), ("graft.groups", "[{}]"),
        ("graft.groups", #"[{"name":"a","multiplier":-1}]"#), ("graft.groups", #"[{"name":"a","multiplier":"x"}]"#),
        ("graft.groups", #"[{"name":"a","weight_decay":true}]"#), ("graft.batch_norm", #"{"*":"sometimes"}"#),
        ("graft.head", #"{"node":"a"}"#), ("graft.labels", "7"), ("graft.history", "{}"), ("graft.version", "2"),
    ])
    func damagedTextsAreNamed(key: String, text: String) {
        var model = SmallNetworks.residual()
        model.metadata[key] = text
        let error = #expect(throws: AnnotationError.self) { try model.annotations() }
        #expect(error?.description.isEmpty == false)
        #expect(throws: AnnotationError.self) { try LayerTree(model) }
    }

    @Test func annotationsFollowARename() throws {
        var model = SmallNetworks.residual()
        model.setAnnotations(annotated())
        for (old, new) in [
            ("conv1.weight", "stem.weight"), ("fc.bias", "head.bias"), ("bn1.running_mean", "bn.mean"),
            ("logits", "scores"),
        ] {
            try model.renameParameter(try #require(model.graph.value(named: old)), to: new)
        }
        let annotations = try model.annotations()
        #expect(annotations.frozen.contains("stem.weight") && !annotations.frozen.contains("conv1.weight"))
        #expect(annotations.group(of: "head.bias")?.weightDecay == 0)
        #expect(annotations.batchNormMode(ofMean: "bn.mean")?.statistics == .batch)
        #expect(annotations.batchNormMode(ofMean: "another") == .frozen)
        #expect(annotations.head?.logits == "scores")
        try Verifier.verify(model)
    }

    @Test func tensorsCarryTheirOwnEntriesWhereTheVersionAllows() throws {
        for version in [8, 10] {
            var model = SmallNetworks.residual()
            model.irVersion = version
            model.setAnnotations(annotated())
            let conv = try #require(model.graph.value(named: "conv1.weight"))
            let weight = try #require(model.graph.value(named: "fc.weight"))
            #expect(model.graph[conv].initializer?.metadata["graft.trainable"] == (version >= 10 ? "false" : nil))
            #expect(model.graph[weight].initializer?.metadata["graft.group"] == (version >= 10 ? "head" : nil))
            model.setAnnotations(Annotations())
            #expect(model.graph[conv].initializer?.metadata.isEmpty == true)
        }
    }

    @Test(arguments: [
        ("names", "{0: 'person', 1: \"bicycle's\"}", ["person", "bicycle's"]),
        ("names", "['a', 'b', 'c']", ["a", "b", "c"]),
        ("classes", #"["x","y"]"#, ["x", "y"]),
        ("labels", "cat\ndog\r\nbird", ["cat", "dog", "bird"]),
        ("class_names", "cat, dog", ["cat", "dog"]),
        ("id2label", #"{"1":"b","0":"a"}"#, ["a", "b"]),
        ("labels", #"{"b":1,"a":0}"#, ["a", "b"]),
    ])
    func labelsOfOtherProgramsAreUnderstood(key: String, text: String, expected: [String]) {
        var model = SmallNetworks.residual()
        model.metadata[key] = text
        #expect(model.classLabels == ClassLabels(names: expected, key: key))
    }

    @Test(arguments: ["{0: 'a', 2: 'b'}", "{", "7", "", "['a', 1.5]", "{0: 'a', 0: 'b'", "person"])
    func textsThatAreNoLabelsArePassedOver(text: String) {
        var model = SmallNetworks.residual()
        model.metadata["names"] = text
        #expect(model.classLabels == nil)
    }

    @Test func batchNormModesHaveNames() {
        for mode in [BatchNormMode.frozen, .inference, .train] { #expect(BatchNormMode(name: mode.name) == mode) }
        #expect(BatchNormMode(name: "other") == nil)
    }
}
