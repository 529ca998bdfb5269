import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Operators on texts and sequences take what files and callers give them, and refuse what they cannot.
@Suite struct TextTests {
    private static func texts(_ elements: [String], shape: [Int]? = nil) throws -> Tensor {
        try Tensor(.string, shape: shape ?? [elements.count], storage: .strings(elements.map { Array($0.utf8) }))
    }

    private static func run(
        _ op: OperatorName, _ inputs: [Tensor], attributes: Attributes = Attributes(), opset: Int = 20
    ) throws -> Tensor? {
        var model = Model(opset: opset)
        let ids = inputs.indices.map { model.graph.addInput("x\($0)", type: nil) }
        model.graph.addOutput(model.graph.add(op, ids, attributes: attributes, output: "y"))
        let given = Dictionary(uniqueKeysWithValues: inputs.enumerated().map { ("x\($0)", $1) })
        return try Session(Plan(model)).run(given)["y"]
    }

    private static func match(_ pattern: String, _ text: String) throws -> [Bool]? {
        try run("RegexFullMatch", [texts([text])], attributes: ["pattern": .string(pattern)])?.elements(as: Bool.self)
    }

    @Test func aPatternThatInvitesBacktrackingIsMatchedAtOnce() throws {
        let text = String(repeating: "a", count: 100_000)
        let start = ContinuousClock.now
        #expect(try Self.match("(a*)*b", text) == [false])
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(try Self.match("(a*)*b", text + "b") == [true])
    }

    @Test(arguments: ["(", "a{1000000}", "[z-a]", "(?=a)"])
    func aPatternThatIsNoneIsRefused(_ pattern: String) {
        #expect(throws: RuntimeError.self) { try Self.match(pattern, "a") }
    }

    @Test func paddingWithoutAValueIsTheEmptyText() throws {
        let y = try Self.run(
            "Pad", [Self.texts(["b", "a"]), Tensor([Int64(1), 1])], attributes: ["mode": .string("constant")])
        #expect(y?.strings == ["", "b", "a", ""])
    }

    @Test func textsAndNumbersAreNotMixed() throws {
        #expect(throws: RuntimeError.self) {
            try Self.run("Concat", [Self.texts(["a"]), Tensor([Int64(1)])], attributes: ["axis": .int(0)])
        }
        #expect(throws: RuntimeError.self) { try Self.run("StringConcat", [Tensor([Float(1)]), Self.texts(["a"])]) }
    }

    @Test(arguments: [
        ("ngram_counts", [0, 5]), ("ngram_counts", [-1]), ("ngram_indexes", [-1, 0]), ("ngram_indexes", [0]),
        ("min_gram_length", [0]), ("max_gram_length", [0]),
    ])
    func damagedPoolsAreRefused(_ name: String, _ values: [Int]) throws {
        var attributes: Attributes = [
            "mode": .string("TF"), "min_gram_length": .int(1), "max_gram_length": .int(2), "max_skip_count": .int(0),
            "ngram_counts": .ints([0, 2]), "ngram_indexes": .ints([0, 1, 2]), "pool_int64s": .ints([1, 2, 1, 2]),
        ]
        let tokens = Tensor([Int64(1), 2, 1])
        #expect(
            try Self.run("TfIdfVectorizer", [tokens], attributes: attributes)?.elements(as: Float.self) == [2, 1, 1])
        attributes[name] = name.hasSuffix("length") ? .int(values[0]) : .ints(values)
        #expect(throws: RuntimeError.self) { try Self.run("TfIdfVectorizer", [tokens], attributes: attributes) }
    }

    @Test(arguments: [1 << 62, Int.max])
    func skipsWithoutNumberEnd(_ skips: Int) throws {
        let attributes: Attributes = [
            "mode": .string("TF"), "min_gram_length": .int(2), "max_gram_length": .int(skips),
            "max_skip_count": .int(skips), "ngram_counts": .ints([0, 0]), "ngram_indexes": .ints([0]),
            "pool_int64s": .ints([1, 3]),
        ]
        let y = try Self.run("TfIdfVectorizer", [Tensor([Int64(1), 2, 3, 3])], attributes: attributes)
        #expect(try y?.elements(as: Float.self) == [2])
    }

    @Test func aPositionOutsideASequenceIsRefused() throws {
        var model = Model(opset: 17)
        let (x, at) = (model.graph.addInput("x", type: nil), model.graph.addInput("at", type: nil))
        let sequence = model.graph.add("SequenceConstruct", [x, x])
        model.graph.addOutput(model.graph.add("SequenceAt", [sequence, at], output: "y"))
        let session = try Session(Plan(model))
        for position in [-2, 1] {
            let y = try session.run(["x": Tensor([Float(7)]), "at": Tensor(scalar: Int64(position))])["y"]
            #expect(try y?.elements(as: Float.self) == [7])
        }
        for position in [-3, 2, Int.min, Int.max] {
            #expect(throws: RuntimeError.self) {
                try session.run(["x": Tensor([Float(7)]), "at": Tensor(scalar: Int64(position))])
            }
        }
    }

    @Test func anAxisOfLengthZeroHidesNoLengthsWithoutProduct() throws {
        let huge = try Tensor(.float32, shape: [1 << 40, 1 << 40, 0], storage: .owned(ByteBuffer(count: 0)))
        #expect(throws: (any Error).self) { try Self.run("SplitToSequence", [huge]) }
        #expect(throws: (any Error).self) { try Self.run("Neg", [huge]) }
    }
}
