import GraftCore
import GraftIR

/// GroupNormalization: scale and bias have one entry a group in opset 18 and one a channel since opset 21.
///
/// The form of opset 18 is deprecated, so going down no node of it is made.
enum GroupNormalizationOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["GroupNormalization"], 21, up: up, down: down),
        OpsetAdapter(["GroupNormalization"], 18, down: asInstanceNormalization),
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        let groups = try editor.reader.requiredInt("num_groups")
        guard let channels = editor.shape(editor.input(0)).flatMap({ $0.rank > 1 ? $0[1].count : nil }), groups > 0,
            channels % groups == 0
        else { throw editor.refusal("the number of channels, which scale and bias need, is not known") }
        let each = channels / groups
        for (index, name) in [(1, "scale"), (2, "bias")] {
            let value = try editor.requiredInput(index)
            if let tensor = editor.constant(value) {
                let numbers = try tensor.floats()
                guard numbers.count == groups else { throw editor.refusal("its \(name) has not one entry a group") }
                let wide = numbers.flatMap { [Float](repeating: $0, count: each) }
                let stored = try Tensor(wide, as: tensor.elementType, shape: [channels])
                editor.setInput(index, to: editor.stored(stored, name))
            } else {
                let rows = editor.emit("Reshape", [value, editor.stored([groups, 1], "rows")])
                let wide = editor.emit("Expand", [rows, editor.stored([groups, each], "wide")])
                editor.setInput(index, to: editor.emit("Reshape", [wide, editor.stored([channels], "channels")]))
            }
        }
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        let groups = try editor.reader.requiredInt("num_groups")
        let x = try editor.requiredInput(0)
        let rank = try editor.requiredRank(x)
        let type = try editor.requiredElementType(x)
        guard groups > 0, groups < 1 << 20, rank > 1, let ones = Tensor.filled(1, type, shape: [groups]),
            let zeros = Tensor.filled(0, type, shape: [groups])
        else { throw editor.refusal("its input is no batch of channels") }
        let (scale, bias) = (try editor.requiredInput(1), try editor.requiredInput(2))
        let axes = Array(1..<(rank - 1))
        func column(_ value: ValueID) -> ValueID {
            axes.isEmpty ? value : editor.emit("Unsqueeze", [value, editor.stored(axes, "axes")])
        }
        let parts = [editor.stored(ones, "ones"), editor.stored(zeros, "zeros")]
        let normalized = try instanceNormalization(&editor, parts)
        let whole = editor.emit("Reshape", [normalized, editor.emit("Shape", [x])])
        let scaled = editor.emit("Mul", [whole, column(scale)])
        try editor.replace("Add", [scaled, column(bias)])
    }

    private static func asInstanceNormalization(_ editor: inout OpsetEditor) throws {
        let parts = [try editor.requiredInput(1), try editor.requiredInput(2)]
        let shape = editor.emit("Shape", [try editor.requiredInput(0)])
        let normalized = try instanceNormalization(&editor, parts)
        try editor.replace("Reshape", [normalized, shape])
    }

    /// The channels of a group lie beside each other, so each group is one channel of a longer map.
    private static func instanceNormalization(_ editor: inout OpsetEditor, _ parts: [ValueID]) throws -> ValueID {
        let groups = try editor.reader.requiredInt("num_groups")
        let epsilon = try editor.reader.float("epsilon", default: 1e-5)
        let flat = editor.emit("Reshape", [try editor.requiredInput(0), editor.stored([0, groups, -1], "groups")])
        return editor.emit("InstanceNormalization", [flat] + parts, ["epsilon": .float(epsilon)])
    }
}
