import GraftCore
import GraftIR

/// Operators that older versions express by several others.
enum DecompositionOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Celu"], 12, down: celu),
        OpsetAdapter(["Gelu"], 20, down: gelu),
        OpsetAdapter(["GreaterOrEqual", "LessOrEqual"], 12, down: comparison),
        OpsetAdapter(["HardSwish"], 14, down: hardSwish),
        OpsetAdapter(["LayerNormalization"], 17, down: layerNormalization),
        OpsetAdapter(["Mish"], 18, down: mish),
        OpsetAdapter(["RMSNormalization"], 23, down: rootMeanSquare),
        OpsetAdapter(["Swish"], 24, down: swish),
    ]

    /// `alpha * elu(x / alpha)`.
    private static func celu(_ editor: inout OpsetEditor) throws {
        let alpha = Double(try editor.reader.float("alpha", default: 1))
        let x = try editor.requiredInput(0)
        guard alpha > 0 else { throw editor.refusal("its alpha is not positive") }
        let factor = try editor.scalar(alpha, like: x, "alpha")
        let inner = editor.emit("Elu", [editor.emit("Div", [x, factor])], ["alpha": .float(1)])
        try editor.replace("Mul", [inner, factor])
    }

    private static func gelu(_ editor: inout OpsetEditor) throws {
        let x = try editor.requiredInput(0)
        let half = try editor.scalar(0.5, like: x, "half")
        let one = try editor.scalar(1, like: x, "one")
        let inner: ValueID
        if try editor.reader.string("approximate") == "tanh" {
            let cubic = try editor.scalar(0.044715, like: x, "cubic")
            let factor = try editor.scalar((2 / Double.pi).squareRoot(), like: x, "factor")
            let cube = editor.emit("Mul", [editor.emit("Mul", [x, x]), x])
            let sum = editor.emit("Add", [x, editor.emit("Mul", [cubic, cube])])
            inner = editor.emit("Tanh", [editor.emit("Mul", [factor, sum])])
        } else {
            let root = try editor.scalar(2.0.squareRoot(), like: x, "root")
            inner = editor.emit("Erf", [editor.emit("Div", [x, root])])
        }
        let scaled = editor.emit("Mul", [x, editor.emit("Add", [inner, one])])
        try editor.replace("Mul", [scaled, half])
    }

    /// Not the negation of the opposite: both are false for what is no number.
    private static func comparison(_ editor: inout OpsetEditor) throws {
        let inputs = editor.node.inputs
        let strict: OperatorName = editor.node.op.type == "GreaterOrEqual" ? "Greater" : "Less"
        let first = editor.emit(strict, inputs)
        let second = editor.emit("Equal", inputs)
        try editor.replace("Or", [first, second])
    }

    private static func hardSwish(_ editor: inout OpsetEditor) throws {
        let x = try editor.requiredInput(0)
        let gate = editor.emit("HardSigmoid", [x], ["alpha": .float(1 / 6), "beta": .float(0.5)])
        try editor.replace("Mul", [x, gate])
    }

    private static func mish(_ editor: inout OpsetEditor) throws {
        let x = try editor.requiredInput(0)
        try editor.replace("Mul", [x, editor.emit("Tanh", [editor.emit("Softplus", [x])])])
    }

    private static func swish(_ editor: inout OpsetEditor) throws {
        let x = try editor.requiredInput(0)
        let alpha = Double(try editor.reader.float("alpha", default: 1))
        var inner = x
        if alpha != 1 { inner = editor.emit("Mul", [x, try editor.scalar(alpha, like: x, "alpha")]) }
        try editor.replace("Mul", [x, editor.emit("Sigmoid", [inner])])
    }

    /// The axes from the node's on; the emitted reductions hold them as the version before the node's wants.
    private static func lastAxes(_ editor: OpsetEditor) throws -> [Int] {
        let rank = try editor.requiredRank(editor.input(0))
        let axis = try editor.normalized([try editor.reader.int("axis", default: -1)], rank: rank)
        return Array(axis[0]..<rank)
    }

    /// The input in the type that statistics are computed in, and the input's own type where that is another.
    private static func stashed(_ editor: inout OpsetEditor) throws -> (x: ValueID, original: ElementType?) {
        let x = try editor.requiredInput(0)
        let type = try editor.requiredElementType(x)
        let stash = try editor.reader.elementType("stash_type") ?? .float32
        guard type == .float16 || type == .bfloat16, stash == .float32 else { return (x, nil) }
        return (editor.emit("Cast", [x], ["to": .int(Int(stash.rawValue))], type: .tensor(stash)), type)
    }

    private static func layerNormalization(_ editor: inout OpsetEditor) throws {
        let axes: Attributes = ["axes": .ints(try lastAxes(editor)), "keepdims": .int(1)]
        let epsilon = Double(try editor.reader.float("epsilon", default: 1e-5))
        let node = editor.node
        let (x, original) = try stashed(&editor)
        let mean = editor.emit("ReduceMean", [x], axes)
        let centred = editor.emit("Sub", [x, mean])
        let variance = editor.emit("ReduceMean", [editor.emit("Mul", [centred, centred])], axes)
        let sum = editor.emit("Add", [variance, try editor.scalar(epsilon, like: x, "epsilon")])
        let deviation = editor.emit("Sqrt", [sum])
        var result = editor.emit("Div", [centred, deviation])
        if let original { result = editor.emit("Cast", [result], ["to": .int(Int(original.rawValue))]) }
        for (index, op) in [(1, "Identity"), (2, "Reciprocal")] where editor.isUsed(output: index) {
            guard let output = editor.output(index) else { continue }
            editor.graph.setOutput(index, of: editor.id, to: nil)
            editor.graph.addNode(
                OperatorName(op), inputs: [index == 1 ? mean : deviation], outputs: [output],
                at: editor.graph.position(of: editor.id))
        }
        if editor.input(2) != nil {
            let scaled = editor.emit("Mul", [result, node.inputs[1]])
            try editor.replace("Add", [scaled, node.inputs[2]])
        } else {
            try editor.replace("Mul", [result, node.inputs[1]])
        }
    }

    private static func rootMeanSquare(_ editor: inout OpsetEditor) throws {
        let axes = try lastAxes(editor)
        let epsilon = Double(try editor.reader.float("epsilon", default: 1e-5))
        let scale = try editor.requiredInput(1)
        let (x, original) = try stashed(&editor)
        let square = editor.emit("Mul", [x, x])
        let mean = editor.emit("ReduceMean", [square, editor.stored(axes, "axes")], ["keepdims": .int(1)])
        let sum = editor.emit("Add", [mean, try editor.scalar(epsilon, like: x, "epsilon")])
        var result = editor.emit("Div", [x, editor.emit("Sqrt", [sum])])
        if let original { result = editor.emit("Cast", [result], ["to": .int(Int(original.rawValue))]) }
        try editor.replace("Mul", [result, scale])
    }
}
