import GraftCore
import GraftIR

/// Upsample became Resize with opset 10; Resize got coordinates and sizes with 11, axes with 18.
enum ResizeOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Upsample"], 9, up: scalesUp, down: scalesDown),
        OpsetAdapter(["Upsample"], 10, up: { $0.graph[$0.id].op = "Resize" }),
        OpsetAdapter(["Resize"], 10, down: { $0.graph[$0.id].op = "Upsample" }),
        OpsetAdapter(["Resize"], 11, up: coordinatesUp, down: coordinatesDown),
        OpsetAdapter(["Resize"], 13, up: emptyInputsUp, down: emptyInputsDown),
        OpsetAdapter(["Resize"], 18, down: axesDown),
        OpsetAdapter(
            ["Resize"], 19,
            down: { editor in
                if try editor.reader.string("coordinate_transformation_mode") == "half_pixel_symmetric" {
                    throw editor.refusal("the coordinates half_pixel_symmetric came with opset 19")
                }
            }),
    ]

    private static func scalesUp(_ editor: inout OpsetEditor) throws {
        guard let scales = try editor.reader.floats("scales") else { throw editor.refusal("it has no scales") }
        editor.set("scales", to: nil)
        editor.setInput(1, to: editor.stored(Tensor(scales), "scales"))
    }

    private static func scalesDown(_ editor: inout OpsetEditor) throws {
        guard let scales = try editor.constant(editor.input(1))?.floats() else {
            throw editor.refusal("its scales are computed while the model runs")
        }
        editor.setInputs([editor.input(0)])
        editor.set("scales", to: .floats(scales))
    }

    /// Resize of opset 10 maps positions without a shift and rounds down.
    private static func coordinatesUp(_ editor: inout OpsetEditor) throws {
        let (x, scales) = (editor.input(0), editor.input(1))
        editor.set("coordinate_transformation_mode", to: .string("asymmetric"))
        if try editor.reader.string("mode") ?? "nearest" == "nearest" {
            editor.set("nearest_mode", to: .string("floor"))
        }
        editor.setInputs([x, editor.stored(Tensor([Float]()), "roi"), scales])
    }

    private static func coordinatesDown(_ editor: inout OpsetEditor) throws {
        let attributes = try ResizeAttributes(editor.node, opset: 11)
        guard attributes.mode != .cubic else { throw editor.refusal("cubic interpolation came with opset 11") }
        var scales = editor.input(2)
        var numbers = try editor.constant(scales)?.floats()
        if numbers?.isEmpty == true { (scales, numbers) = (nil, nil) }
        if editor.input(3) != nil, scales == nil {
            guard let sizes = editor.integers(editor.input(3)), let counts = editor.shape(editor.input(0))?.counts,
                sizes.count == counts.count, !counts.contains(0)
            else { throw editor.refusal("sizes instead of scales came with opset 11, and the scales are not known") }
            let found = zip(sizes, counts).map { Float($0) / Float($1) }
            guard zip(sizes, zip(counts, found)).allSatisfy({ ResizeAttributes.scaled($1.0, by: $1.1) == $0 }) else {
                throw editor.refusal("no scales give the sizes \(sizes)")
            }
            numbers = found
        }
        let isPlain = attributes.coordinates == "asymmetric"
        let isWhole = numbers?.allSatisfy { $0 >= 1 && $0 == $0.rounded() } ?? false
        switch attributes.mode {
        case .nearest:
            let floors = isPlain && attributes.nearest == "floor"
            // Scaled by a whole number, all of these repeat each element.
            let repeats =
                isWhole && ["half_pixel", "tf_half_pixel_for_nn"].contains(attributes.coordinates)
                && (attributes.coordinates == "half_pixel") == attributes.nearest.hasPrefix("round")
            guard floors || repeats else { throw shift(attributes, editor) }
        default:
            guard isPlain || numbers?.allSatisfy({ $0 == 1 }) ?? false else { throw shift(attributes, editor) }
        }
        if attributes.excludesOutside { throw editor.refusal("excluding what is outside came with opset 11") }
        let input = numbers.map { editor.stored(Tensor($0), "scales") } ?? scales
        guard let input else { throw editor.refusal("it has no scales") }
        editor.setInputs([editor.input(0), input])
        for name in [
            "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value",
        ] { editor.set(name, to: nil) }
    }

    private static func shift(_ attributes: ResizeAttributes, _ editor: OpsetEditor) -> OpsetRefusal {
        editor.refusal("the coordinates \(attributes.coordinates) came with opset 11")
    }

    /// Since opset 13 what is not given is left out instead of empty, and one of TensorFlow's coordinates is gone.
    private static func emptyInputsUp(_ editor: inout OpsetEditor) throws {
        for index in 1...2 where editor.constant(editor.input(index))?.count == 0 {
            editor.setInput(index, to: nil)
        }
        guard try editor.reader.string("coordinate_transformation_mode") == "tf_half_pixel_for_nn" else { return }
        guard try editor.reader.string("nearest_mode") == "floor" else {
            throw editor.refusal("the coordinates tf_half_pixel_for_nn went with opset 13")
        }
        // floor(x + 1/2) rounds x, halves up.
        editor.set("coordinate_transformation_mode", to: .string("half_pixel"))
        editor.set("nearest_mode", to: .string("round_prefer_ceil"))
    }

    private static func emptyInputsDown(_ editor: inout OpsetEditor) throws {
        for (index, name) in [(1, "roi"), (2, "scales")] where editor.input(index) == nil {
            editor.setInput(index, to: editor.stored(Tensor([Float]()), name))
        }
    }

    private static func axesDown(_ editor: inout OpsetEditor) throws {
        let attributes = try ResizeAttributes(editor.node, opset: 18)
        if attributes.antialiases { throw editor.refusal("averaging while it shrinks came with opset 18") }
        if attributes.aspectRatio != .stretch { throw editor.refusal("keeping the aspect ratio came with opset 18") }
        editor.set("antialias", to: nil)
        editor.set("keep_aspect_ratio_policy", to: nil)
        guard let listed = attributes.axes else { return }
        guard let shape = editor.shape(editor.input(0)) else { throw editor.refusal("its rank is not known") }
        let axes = try editor.normalized(listed, rank: shape.rank)
        if editor.input(1) != nil, attributes.coordinates == "tf_crop_and_resize" {
            throw editor.refusal("a region of some axes came with opset 18")
        }
        if let scales = try editor.constant(editor.input(2))?.floats(), !scales.isEmpty {
            var full = [Float](repeating: 1, count: shape.rank)
            for (axis, scale) in zip(axes, scales) { full[axis] = scale }
            editor.setInput(2, to: editor.stored(Tensor(full), "scales"))
        } else if editor.input(3) != nil {
            var full = shape.dimensions.map { $0.count ?? -1 }
            for (axis, size) in zip(axes, try editor.constantIntegers(3, "sizes")) { full[axis] = size }
            guard !full.contains(-1) else { throw editor.refusal("sizes of some axes came with opset 18") }
            editor.setInput(3, to: editor.stored(full, "sizes"))
        } else {
            throw editor.refusal("its scales are computed while the model runs")
        }
        editor.set("axes", to: nil)
    }
}
