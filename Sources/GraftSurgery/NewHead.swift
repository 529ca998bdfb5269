import GraftCore
import GraftIR
import OrderedCollections

/// Builds a head of new nodes behind a value, in place of what stood there.
struct NewHead {
    var model: Model
    let options: HeadOptions
    /// What the head reads.
    let features: ValueID
    /// The value that the next node is put behind.
    private(set) var value: ValueID
    private var added: [String] = []
    private let type: ElementType

    /// A head that begins at a value.
    ///
    /// - Parameter elementType: the type of the features.
    init(_ model: Model, behind features: ValueID, elementType: ElementType?, options: HeadOptions) {
        self.model = model
        self.features = features
        self.options = options
        value = features
        type = elementType.flatMap { $0.isFloatingPoint && $0.bitWidth >= 16 ? $0 : nil } ?? .float32
    }

    // MARK: Nodes

    /// Appends a node that reads the value so far first.
    mutating func append(
        _ op: OperatorName, _ inputs: [ValueID?] = [], _ attributes: Attributes = [:], name: String
    ) {
        value = model.graph.add(
            op, [value] + inputs, attributes: attributes, name: model.graph.uniqueNodeName(name), type: nil)
    }

    /// Appends a node that does not read the value so far.
    mutating func add(_ op: OperatorName, _ inputs: [ValueID?], _ attributes: Attributes = [:], name: String)
        -> ValueID
    {
        model.graph.add(op, inputs, attributes: attributes, name: model.graph.uniqueNodeName(name), type: nil)
    }

    mutating func constant(_ name: String, _ tensor: Tensor) -> ValueID {
        model.graph.addInitializer(model.graph.uniqueValueName(name), tensor)
    }

    private mutating func parameter(_ name: String, _ values: [Float], _ shape: [Int]) throws -> ValueID {
        let id = constant(name, try Tensor(values, as: type, shape: shape))
        added.append(model.graph[id].name)
        return id
    }

    /// A convolution with a square kernel that keeps the size.
    mutating func appendConvolution(
        _ weights: [Float], _ biases: [Float], from channels: Int, to count: Int, kernel: Int, name: String
    ) throws {
        let weight = try parameter("\(name).weight", weights, [count, channels, kernel, kernel])
        let bias = try parameter("\(name).bias", biases, [count])
        let pad = kernel / 2
        append(
            "Conv", [weight, bias],
            [
                "kernel_shape": .ints([kernel, kernel]), "pads": .ints([pad, pad, pad, pad]),
                "strides": .ints([1, 1]), "dilations": .ints([1, 1]), "group": .int(1),
            ], name: name)
    }

    /// A matrix product with one row of the matrix a result.
    mutating func appendProduct(_ weights: [Float], _ biases: [Float], from width: Int, to count: Int, name: String)
        throws
    {
        let weight = try parameter("\(name).weight", weights, [count, width])
        let bias = try parameter("\(name).bias", biases, [count])
        append("Gemm", [weight, bias], ["transB": .int(1)], name: name)
    }

    /// A dropout, where the options ask for one.
    mutating func appendDropout(name: String) throws {
        guard let share = options.dropout, share > 0 else { return }
        let opset = model.opset() ?? 1
        guard opset >= 7 else {
            throw HeadSwapError.option("dropout needs opset 7 or later; the model has \(opset)")
        }
        if opset >= 12 {
            append("Dropout", [constant("\(name).ratio", Tensor(scalar: Float(share)))], name: name)
        } else {
            append("Dropout", [], ["ratio": .float(Float(share))], name: name)
        }
    }

    /// The activation that the options ask for; the scores stay as they are for ``HeadActivation/same``.
    mutating func appendActivation(axis: Int, name: String) throws {
        switch options.activation {
        case .same, .none: return
        case .sigmoid: append("Sigmoid", name: name)
        case .softmax:
            // Before opset 13 softmax flattens what follows its axis.
            guard axis == 1 && (model.opset() ?? 1) < 13 && !isFlat else {
                append("Softmax", [], ["axis": .int(axis)], name: name)
                return
            }
            throw HeadSwapError.option(
                "softmax over the classes of each pixel needs opset 13 or later; the model has \(model.opset() ?? 1)")
        }
    }

    /// Whether the result is one row a sample.
    var isFlat = false

    // MARK: Ending

    /// Makes the value so far the model's only output, removes what is left over, and writes down where the head is.
    ///
    /// - Parameters:
    ///   - classifier: the name of the node that multiplies by the classifier's matrix.
    ///   - type: the type of the output.
    mutating func finish(classifier: String, logits: ValueID, type: ValueType) throws {
        let old = model.graph.outputs
        let name = old.count == 1 && old[0] != features ? model.graph[old[0]].name : "scores"
        model.graph.setOutputs([value])
        model.graph.removeUnused(old.filter { $0 != features })
        model.graph.removeDeadNodes()
        if model.graph.value(named: name) == nil { model.graph.rename(value, to: name) }
        model.graph[value].type = type
        let graph = model.graph
        let marker = HeadMarker(
            node: classifier, features: graph[features].name, logits: graph[logits].name,
            classes: options.classes.count)
        let names = Set(graph.values.lazy.map { graph[$0].name })
        if let labels = model.classLabels, labels.key != "graft.labels" { model.metadata[labels.key] = nil }
        let (options, added) = (options, added)
        try model.updateAnnotations { annotations in
            annotations.labels = options.classes.names
            annotations.head = marker
            if let contract = options.preprocessing { annotations.preprocessing = contract }
            annotations.keep { names.contains($0) }
            for name in added { annotations.frozen.remove(name) }
        }
    }

    /// Options that need what a network without a classifier does not have.
    static func check(_ options: HeadOptions) throws {
        try HeadSwap.check(options)
        if options.keepsNamedClasses {
            throw HeadSwapError.option("--keep carries classes over from a classifier; there is none here")
        }
    }
}
