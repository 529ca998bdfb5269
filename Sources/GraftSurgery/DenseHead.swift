import GraftCore
import GraftIR

/// Gives a model a classifier for each pixel, on one of its feature maps.
///
/// A 1x1 convolution scores each position of the map, after a 3x3 convolution with ReLU where a hidden layer is asked
/// for; the scores are enlarged linearly to the size of the picture. What is behind the map and not needed any more goes.
/// A model whose picture comes with its channels last gives its scores that way too.
public enum DenseHead: Pass {
    /// The name of the pass.
    public static let name = "dense-head"
    /// What the pass does.
    public static let summary = "Puts a classifier for each pixel on a feature map."

    /// The patch that gives a model a head for each pixel.
    ///
    /// - Throws: ``HeadError`` where the feature map cannot be told, ``HeadSwapError`` where the head cannot be made.
    public static func patch(for model: Model, _ options: HeadOptions) throws -> Patch {
        try NewHead.check(options)
        let opset = model.opset() ?? 1
        guard opset >= 11 else {
            throw HeadSwapError.option(
                "a head for each pixel needs opset 11 or later, where Resize has pixel centres; the model has \(opset)")
        }
        let maps = try FeatureMaps(model)
        let map = try maps.map(at: options.place)
        var details = options.details
        details["features"] = JSON(map.name)
        details["stride"] = JSON(map.stride)
        return try record(on: model, details: details) { model in
            let elementType = try Inference.inferTypes(of: model).elementType(of: map.value)
            var head = NewHead(model, behind: map.value, elementType: elementType, options: options)
            try build(&head, map, maps)
            model = head.model
        }
    }

    private static func build(_ head: inout NewHead, _ map: FeatureMap, _ maps: FeatureMaps) throws {
        let options = head.options
        let classes = options.classes.count
        var channels = map.channels
        if let hidden = options.hidden {
            guard let count = Checked.product([hidden, channels, 9]) else {
                throw HeadSwapError.option("a hidden layer of \(hidden) filters over \(channels) channels is too large")
            }
            let weights = HeadWeights.kaiming(
                width: channels * 9, count: count, seed: options.seed, use: "head.hidden")
            try head.appendConvolution(
                weights, [Float](repeating: 0, count: hidden), from: channels, to: hidden, kernel: 3,
                name: "head_hidden")
            head.append("Relu", name: "head_hidden_relu")
            channels = hidden
        }
        try head.appendDropout(name: "head_dropout")
        let weights = try HeadWeights(options, features: channels, kernel: 1)
        try head.appendConvolution(
            weights.rows, weights.biases, from: channels, to: classes, kernel: 1, name: "head_classifier")
        let scores = head.value
        let classifier = head.model.graph[scores].producer.map { head.model.graph[$0].name } ?? "head_classifier"
        try enlarge(&head, map, maps)
        let logits = head.value
        try head.appendActivation(axis: 1, name: "head_activation")
        let picture = head.model.graph[maps.picture].type
        var extents = picture?.shape?.dimensions ?? []
        if maps.isChannelsLast {
            head.append("Transpose", [], ["perm": .ints([0, 2, 3, 1])], name: "head_channels_last")
            if extents.count == 4 { extents[3] = Dimension(.fixed(classes)) }
        } else if extents.count == 4 {
            extents[1] = Dimension(.fixed(classes))
        }
        let elementType = try Inference.inferTypes(of: head.model).elementType(of: head.value) ?? .float32
        try head.finish(
            classifier: classifier, logits: logits, type: .tensor(elementType, SymbolicShape(extents)))
    }

    /// Enlarges scores to the size of the picture.
    ///
    /// By whole factors where both sizes are fixed; otherwise to the extents that the picture has when the model runs.
    private static func enlarge(_ head: inout NewHead, _ map: FeatureMap, _ maps: FeatureMaps) throws {
        let attributes: Attributes = [
            "mode": .string("linear"), "coordinate_transformation_mode": .string("half_pixel"),
        ]
        // Resize before opset 13 has to be given a region, which is empty.
        let region = (head.model.opset() ?? 1) < 13 ? head.constant("head_resize.region", emptyFloats()) : nil
        if let factors = maps.factors(of: map) {
            if factors == [1, 1] { return }
            let scales = head.constant("head_resize.scales", Tensor([1, 1] + factors.map { Float($0) }))
            head.append("Resize", [region, scales], attributes, name: "head_resize")
            return
        }
        let none = region == nil ? nil : Optional(head.constant("head_resize.scales", emptyFloats()))
        func part(_ value: ValueID, _ from: Int, _ to: Int, _ name: String) -> ValueID {
            let shape = head.add("Shape", [value], name: "\(name)_shape")
            let start = head.constant("\(name).start", Tensor([Int64(from)]))
            let end = head.constant("\(name).end", Tensor([Int64(to)]))
            return head.add("Slice", [shape, start, end], name: name)
        }
        let count = part(head.value, 0, 2, "head_resize_classes")
        let first = maps.isChannelsLast ? 1 : 2
        let sides = part(maps.picture, first, first + 2, "head_resize_sides")
        let sizes = head.add("Concat", [count, sides], ["axis": .int(0)], name: "head_resize_sizes")
        head.append("Resize", [region, none, sizes], attributes, name: "head_resize")
    }

    private static func emptyFloats() -> Tensor { Tensor([Float](), shape: [0]) }
}
