import GraftCore
import GraftIR

/// Dropout: opset 10 made the mask boolean, opset 12 made the ratio an input and added the switch for training.
enum DropoutOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["Dropout"], 10,
            up: { editor in
                guard editor.isUsed(output: 1) else { return try editor.dropUnusedOutput(1) }
                let type = try editor.requiredElementType(editor.input(0))
                try editor.follow(output: 1) { _, mask in ("Cast", [mask], ["to": .int(Int(type.rawValue))]) }
            },
            down: { editor in
                guard editor.isUsed(output: 1) else { return try editor.dropUnusedOutput(1) }
                try editor.follow(output: 1) { _, mask in
                    ("Cast", [mask], ["to": .int(Int(ElementType.bool.rawValue))])
                }
            }),
        OpsetAdapter(
            ["Dropout"], 12,
            up: { editor in
                guard let ratio = try editor.reader.float("ratio") else { return }
                editor.set("ratio", to: nil)
                editor.setInput(1, to: editor.stored(Tensor(scalar: ratio), "ratio"))
            },
            down: { editor in
                if editor.input(2) != nil {
                    guard editor.integers(editor.input(2)) == [0] else {
                        throw editor.refusal("it may train, which came with opset 12")
                    }
                    editor.setInput(2, to: nil)
                }
                editor.set("seed", to: nil)
                guard editor.input(1) != nil else { return }
                guard let ratio = try editor.constant(editor.input(1))?.floats().first else {
                    throw editor.refusal("its ratio is computed while the model runs")
                }
                editor.setInput(1, to: nil)
                editor.set("ratio", to: .float(ratio))
            }),
    ]
}
