import GraftAutodiff
import GraftCore
import GraftIR
import GraftRuntime
import GraftTestSupport
import GraftWeights
import OrderedCollections
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// The reverse pass and the gradient kernels give what PyTorch gives for every operator and setting of the goldens.
@Suite struct GradientGoldenTests {
    /// One case of a golden file.
    struct Case: Sendable, CustomTestStringConvertible {
        let op: String
        let name: String
        let description: JSON
        var testDescription: String { "\(op).\(name)" }
    }

    static let cases: [Case] = {
        var result: [Case] = []
        for op in operators {
            guard let file = try? MappedFile(path: Fixtures.path("gradients/\(op).json")),
                let json = try? JSON(parsing: String(decoding: file.bytes, as: UTF8.self))
            else { continue }
            for entry in json["cases"]?.array ?? [] {
                result.append(Case(op: op, name: entry["name"]?.string ?? "", description: entry))
            }
        }
        return result
    }()

    private static let operators: [String] = {
        guard let folder = opendir(Fixtures.path("gradients")) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".json") { names.append(String(name.dropLast(5))) }
        }
        return names.sorted()
    }()

    @Test func thereAreGoldens() {
        #expect(Self.operators.count >= 60)
        #expect(Self.cases.count >= 160)
    }

    @Test(arguments: cases, [true, false])
    func gradientsAgree(_ golden: Case, optimizes: Bool) throws {
        let arrays = try NPZ.read(path: Fixtures.path("gradients/\(golden.op).npz"))
        var network = try GradientNetwork(golden, arrays)
        if network.isRefused {
            #expect(throws: DifferentiationError.self) { try network.differentiate() }
            return
        }
        try network.differentiate()
        var options = PlanOptions()
        options.optimizes = optimizes
        options.outputs = network.results.map(\.value)
        let session = try Session(Plan(network.model, options: options))
        // The second run has cached primitives and packed weights.
        for _ in 0..<2 {
            let outputs = try session.run(network.inputs)
            for (value, expected) in network.results {
                let name = network.model.graph[value].name
                let found = try #require(outputs[name])
                #expect(try relativeDifference(found, expected) < 1e-4, "\(golden.testDescription): \(name)")
            }
        }
    }
}

/// The graph of one case: its operator, and the product of the result with the upstream gradient as the loss.
private struct GradientNetwork {
    private(set) var model: Model
    private(set) var inputs: [String: Tensor] = [:]
    /// What the graph gives out, and what is expected there.
    private(set) var results: [(value: ValueID, expected: Tensor)] = []
    /// Whether the reverse pass has to refuse the case.
    let isRefused: Bool
    private let loss: ValueID
    private var wanted: [(value: ValueID, expected: Tensor)] = []

    init(_ golden: GradientGoldenTests.Case, _ arrays: OrderedDictionary<String, Tensor>) throws {
        let json = golden.description
        func array(_ name: String) throws -> Tensor { try #require(arrays["\(golden.name).\(name)"]) }
        func names(_ key: String) -> [String] { json[key]?.array?.compactMap(\.string) ?? [] }
        let gradients = names("gradients")
        var attributes = Attributes()
        for (name, value) in json["attributes"]?.object ?? [:] { attributes[name] = Self.attribute(value) }
        var model = Model(opset: try #require(json["opset"]?.int))
        var operands: [ValueID?] = []
        for name in names("inputs") {
            if name.isEmpty {
                operands.append(nil)
            } else if gradients.contains(name) {
                let tensor = try array(name)
                operands.append(
                    model.graph.addInput(name, type: .tensor(.float32, SymbolicShape(tensor.shape))))
                inputs[name] = tensor
            } else {
                operands.append(model.graph.addInitializer(name, try array(name)))
            }
        }
        // The losses of ONNX have no gradient rule; Graft trains with its own, which is the same function for a mean.
        var op = OperatorName(golden.op)
        var outputs = names("outputs").map { model.graph.addValue($0) }
        isRefused =
            golden.op == "SoftmaxCrossEntropyLoss" && ["sum", "none", "ignored_labels"].contains(golden.name)
        if golden.op == "cross-entropy" || golden.op == "SoftmaxCrossEntropyLoss", !isRefused {
            op = OperatorName("SoftmaxCrossEntropy", domain: graftDomain)
            attributes["reduction"] = nil
            outputs.append(model.graph.addValue("probabilities"))
            model.importOpset(graftDomain, version: 1)
        }
        model.graph.addNode(op, name: "node", inputs: operands, outputs: outputs, attributes: attributes)
        if attributes.int("training_mode") == 1 {
            model = try TrainingForm(model, options: .init { _ in .train }).model
        }
        for (value, name) in zip(outputs, names("outputs")) { results.append((value, try array(name))) }
        let upstream = try array("dY")
        let weight = model.graph.addInput("upstream", type: .tensor(.float32, SymbolicShape(upstream.shape)))
        inputs["upstream"] = upstream
        let product = model.graph.add("Mul", [outputs[0], weight])
        loss = model.graph.add("ReduceSum", [product], attributes: ["keepdims": .int(0)])
        for name in gradients {
            wanted.append((try #require(model.graph.value(named: name)), try array("d\(name)")))
        }
        self.model = model
    }

    mutating func differentiate() throws {
        let gradients = try Differentiation.gradients(of: loss, withRespectTo: wanted.map(\.value), in: &model)
        for (value, expected) in wanted { results.append((try #require(gradients[value]), expected)) }
    }

    private static func attribute(_ json: JSON) -> AttributeValue? {
        switch json {
        case .int(let value): .int(value)
        case .number(let value): .float(Float(value))
        case .string(let text): .string(text)
        case .array(let list):
            if list.allSatisfy({ if case .int = $0 { true } else { false } }) {
                .ints(list.compactMap { $0.int.map { Int64($0) } })
            } else {
                .floats(list.compactMap { $0.double.map { Float($0) } })
            }
        default: nil
        }
    }
}

/// The largest difference of two tensors, relative to the largest magnitude expected.
func relativeDifference(_ found: Tensor, _ expected: Tensor) throws -> Double {
    guard found.shape == expected.shape else { return .infinity }
    let (a, b) = (try found.floats(), try expected.floats())
    let scale = max(b.map { abs(Double($0)) }.max() ?? 1, 1e-6)
    var worst = 0.0
    for index in a.indices {
        let difference = abs(Double(a[index]) - Double(b[index]))
        if !(difference <= worst) { worst = difference.isNaN ? .infinity : difference }
    }
    return worst / scale
}
