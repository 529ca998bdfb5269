import GraftCore
import GraftIR

/// GridSample, RoiAlign and DFT: names and places of settings changed.
enum TransformOpset: OpsetAdapterFamily {
    private static let modes = [("bilinear", "linear"), ("bicubic", "cubic")]

    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(
            ["GridSample"], 20,
            up: { editor in
                let mode = try editor.reader.string("mode") ?? "bilinear"
                if let new = modes.first(where: { $0.0 == mode })?.1 { editor.set("mode", to: .string(new)) }
            },
            down: { editor in
                guard try editor.requiredRank(editor.input(0)) == 4 else {
                    throw editor.refusal("other inputs than images came with opset 20")
                }
                let mode = try editor.reader.string("mode") ?? "linear"
                if let old = modes.first(where: { $0.1 == mode })?.0 { editor.set("mode", to: .string(old)) }
            }),
        OpsetAdapter(
            ["RoiAlign"], 16,
            up: { $0.set("coordinate_transformation_mode", to: .string("output_half_pixel")) },
            down: { editor in
                guard try editor.reader.string("coordinate_transformation_mode") == "output_half_pixel" else {
                    throw editor.refusal("positions at half a pixel came with opset 16")
                }
                editor.set("coordinate_transformation_mode", to: nil)
            }),
        OpsetAdapter(
            ["DFT"], 20,
            up: { editor in
                let axis = try editor.reader.int("axis", default: 1)
                editor.set("axis", to: nil)
                editor.setInput(2, to: editor.stored(Tensor(scalar: Int64(axis)), "axis"))
            },
            down: { editor in
                var axis = -2
                if editor.input(2) != nil { axis = try editor.constantIntegers(2, "the axis").first ?? -2 }
                if axis < 0 { axis += try editor.requiredRank(editor.input(0)) }
                editor.setInput(2, to: nil)
                editor.set("axis", to: .int(axis))
            }),
    ]
}
