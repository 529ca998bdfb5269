import GraftCore
import GraftIR

/// Clip: the bounds were attributes and became inputs with opset 11.
enum ClipOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Clip"], 11, up: up, down: down)
    ]

    private static func up(_ editor: inout OpsetEditor) throws {
        for (index, name, lowest) in [(1, "min", -Float.greatestFiniteMagnitude), (2, "max", .greatestFiniteMagnitude)]
        {
            guard let bound = try editor.reader.float(name) else { continue }
            editor.set(name, to: nil)
            // The default bounds bound nothing; a type with a smaller range could not hold them.
            if bound == lowest || bound == (index == 1 ? -.infinity : .infinity) { continue }
            editor.setInput(index, to: try editor.scalar(Double(bound), like: editor.input(0), name))
        }
    }

    private static func down(_ editor: inout OpsetEditor) throws {
        var bounds: [Float?] = [nil, nil]
        for index in 1...2 {
            guard let id = editor.input(index) else { continue }
            guard let tensor = editor.constant(id) else { return try asMaxMin(&editor) }
            guard let value = try tensor.floats().first, tensor.count == 1 else {
                throw editor.refusal("its bound is not one number")
            }
            bounds[index - 1] = value
        }
        editor.setInputs([editor.input(0)])
        if let low = bounds[0] { editor.set("min", to: .float(low)) }
        if let high = bounds[1] { editor.set("max", to: .float(high)) }
    }

    /// Bounds that are computed while the model runs.
    private static func asMaxMin(_ editor: inout OpsetEditor) throws {
        let (x, low, high) = (editor.input(0), editor.input(1), editor.input(2))
        if let low, let high {
            try editor.replace("Min", [editor.emit("Max", [x, low]), high])
        } else if let low {
            try editor.replace("Max", [x, low])
        } else {
            try editor.replace("Min", [x, high])
        }
    }
}
