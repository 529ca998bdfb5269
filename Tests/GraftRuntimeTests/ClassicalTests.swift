import GraftCore
import GraftIR
import GraftRuntime
import GraftTestSupport
import OrderedCollections
import Testing

/// Operators of ai.onnx.ml give what onnxruntime gives, and refuse what they cannot.
@Suite struct ClassicalTests {
    private static let cases: [JSON] = {
        guard let file = try? MappedFile(path: Fixtures.path("classical/cases.json")) else { return [] }
        return (try? JSON(parsing: String(decoding: file.bytes, as: UTF8.self)))?.array ?? []
    }()

    @Test func casesAreThere() { #expect(Self.cases.count > 30) }

    @Test(arguments: cases.indices)
    func agreesWithOnnxruntime(_ index: Int) throws {
        let record = Self.cases[index]
        let op = try #require(record["op"]?.string)
        var attributes = Attributes()
        for (name, value) in record["attributes"]?.object ?? [:] { attributes[name] = try Self.attribute(value) }
        let inputs = try (record["inputs"]?.array ?? []).map(Self.value)
        let expected = try (record["outputs"]?.array ?? []).map(Self.value)
        let outputs = try Self.run(
            op, version: record["version"]?.int ?? 1, inputs, attributes: attributes, outputs: expected.count)
        try #require(outputs.count == expected.count)
        for (output, wanted) in zip(outputs, expected) { try Self.expectSame(output, wanted, "\(index): \(op)") }
    }

    private static func run(
        _ op: String, version: Int, _ inputs: [ModelValue], attributes: Attributes, outputs: Int = 1
    ) throws -> [ModelValue] {
        var model = Model(opset: 17)
        model.importOpset("ai.onnx.ml", version: version)
        let ids = inputs.indices.map { model.graph.addInput("x\($0)", type: nil) }
        let results = (0..<outputs).map { model.graph.addValue("y\($0)") }
        model.graph.addNode(
            OperatorName(op, domain: "ai.onnx.ml"), inputs: ids, outputs: results, attributes: attributes)
        for result in results { model.graph.addOutput(result) }
        let given = Dictionary(uniqueKeysWithValues: inputs.enumerated().map { ("x\($0)", $1) })
        let found = try Session(Plan(model)).run(given)
        return (0..<outputs).compactMap { found["y\($0)"] }
    }

    private static func expectSame(_ actual: ModelValue, _ expected: ModelValue, _ name: String) throws {
        switch (actual, expected) {
        case (.tensor(let a), .tensor(let b)):
            #expect(a.elementType == b.elementType && a.shape == b.shape, "\(name)")
            if a.elementType == .string {
                #expect(a.strings == b.strings, "\(name)")
            } else {
                #expect(try relativeDifference(a, b) < 1e-6, "\(name)")
            }
        case (.sequence(let a), .sequence(let b)):
            try #require(a.count == b.count, "\(name)")
            for (x, y) in zip(a, b) { try expectSame(x, y, name) }
        case (.map(let keys, let values), .map(let otherKeys, let otherValues)):
            try expectSame(.tensor(keys), .tensor(otherKeys), name)
            try expectSame(values, otherValues, name)
        default: Issue.record("\(name): \(actual.kind) is not \(expected.kind)")
        }
    }

    // MARK: The file of cases

    private static func value(_ json: JSON) throws -> ModelValue {
        if let elements = json.array { return .sequence(try elements.map(value)) }
        if let keys = json["keys"], let values = json["values"] {
            return .map(keys: try tensor(keys), values: .tensor(try tensor(values)))
        }
        return .tensor(try tensor(json))
    }

    private static func number(_ json: JSON) -> Double { json.double ?? .nan }

    private static func tensor(_ json: JSON) throws -> Tensor {
        let shape = (json["shape"]?.array ?? []).compactMap(\.int)
        let data = json["data"]?.array ?? []
        switch json["type"]?.string {
        case "float32": return Tensor(data.map { Float(number($0)) }, shape: shape)
        case "float64": return Tensor(data.map(number), shape: shape)
        case "int64": return Tensor(data.map { Int64($0.int ?? 0) }, shape: shape)
        case "int16": return Tensor(data.map { Int16($0.int ?? 0) }, shape: shape)
        case "string":
            return try Tensor(
                .string, shape: shape, storage: .strings(data.map { Array(($0.string ?? "").utf8) }))
        default: throw RuntimeError.invalidGraph("a case with elements of a type that the test does not know")
        }
    }

    private static func attribute(_ json: JSON) throws -> AttributeValue? {
        guard let (kind, value) = json.object?.elements.first else { return nil }
        let list = value.array ?? []
        switch kind {
        case "int": return .int(value.int ?? 0)
        case "ints": return .ints(list.compactMap(\.int))
        case "float": return .float(Float(number(value)))
        case "floats": return .floats(list.map { Float(number($0)) })
        case "string": return .string(value.string ?? "")
        case "strings": return .strings(list.map { Array(($0.string ?? "").utf8) })
        case "tensor": return .tensor(try tensor(value))
        default: return nil
        }
    }

    // MARK: What is refused

    /// A tree of one decision, with one attribute changed.
    private static func tree(_ name: String, _ value: AttributeValue) throws -> [ModelValue] {
        var attributes: Attributes = [
            "nodes_treeids": .ints([0, 0, 0]), "nodes_nodeids": .ints([0, 1, 2]), "nodes_featureids": .ints([1, 0, 0]),
            "nodes_values": .floats([0.5, 0, 0]),
            "nodes_modes": .strings(["BRANCH_LEQ", "LEAF", "LEAF"].map { Array($0.utf8) }),
            "nodes_truenodeids": .ints([1, 0, 0]), "nodes_falsenodeids": .ints([2, 0, 0]),
            "target_treeids": .ints([0, 0]), "target_nodeids": .ints([1, 2]), "target_ids": .ints([0, 0]),
            "target_weights": .floats([-1, 4]), "n_targets": .int(1),
        ]
        attributes[name] = value
        let x = Tensor([Float(0), 0.25, 9, 0.75], shape: [2, 2])
        return try run("TreeEnsembleRegressor", version: 1, [.tensor(x)], attributes: attributes)
    }

    @Test func aTreeTakesTheBranchOfItsDecision() throws {
        let y = try Self.tree("aggregate_function", .string("SUM")).first?.tensor
        #expect(try y?.elements(as: Float.self) == [-1, 4])
        #expect(y?.shape == [2, 1])
    }

    @Test(arguments: [
        ("nodes_truenodeids", [0, 0, 0]), ("nodes_truenodeids", [7, 0, 0]), ("nodes_falsenodeids", [-1, 0, 0]),
        ("nodes_nodeids", [0, 1, 1]), ("nodes_featureids", [-1, 0, 0]), ("nodes_featureids", [2, 0, 0]),
        ("nodes_featureids", [1 << 40, 0, 0]), ("nodes_treeids", [0, 0]), ("target_ids", [0, 1]),
        ("target_ids", [0, -1]), ("target_nodeids", [1, 0]), ("target_treeids", [0, 5]),
    ])
    func aBrokenTreeIsRefused(_ name: String, _ values: [Int]) {
        #expect(throws: RuntimeError.self) { try Self.tree(name, .ints(values)) }
    }

    @Test(
        arguments: [
            (
                "SVMClassifier",
                [
                    "classlabels_ints": .ints([0, 1]), "coefficients": .floats([1]), "rho": .floats([0]),
                    "vectors_per_class": .ints([1, 1]), "support_vectors": .floats([1, 2, 3, 4]),
                ]
            ),
            (
                "SVMRegressor",
                ["n_supports": .int(3), "coefficients": .floats([1, 2]), "support_vectors": .floats([1, 2, 3])]
            ),
            ("LinearClassifier", ["classlabels_ints": .ints([0, 1, 2]), "coefficients": .floats([1, 2, 3, 4])]),
            ("LinearRegressor", ["coefficients": .floats([1, 2, 3]), "targets": .int(2)]),
            ("Scaler", ["offset": .floats([1, 2, 3]), "scale": .floats([1])]),
            ("Imputer", ["imputed_value_floats": .floats([1, 2, 3])]),
            ("ZipMap", ["classlabels_int64s": .ints([1, 2, 3])]),
            ("OneHotEncoder", ["cats_int64s": .ints([5]), "zeros": .int(0)]),
            ("LabelEncoder", ["keys_floats": .floats([1, 2]), "values_int64s": .ints([1])]),
            ("FeatureVectorizer", ["inputdimensions": .ints([-1])]),
            ("Normalizer", ["norm": .string("L3")]),
        ] as [(String, Attributes)])
    func whatDoesNotFitIsRefused(_ op: String, _ attributes: Attributes) {
        let x = ModelValue.tensor(Tensor([Float(1), 2, 3, 4], shape: [2, 2]))
        #expect(throws: RuntimeError.self) { try Self.run(op, version: 2, [x], attributes: attributes) }
    }
}
