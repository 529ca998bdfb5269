import GraftCore
import GraftIR
import OrderedCollections

/// Builds the graph while layers are lowered one call after the other.
struct GraphBuilder {
    /// The metadata of a node that names its layer.
    static let layerKey = "keras.layer"
    /// The metadata of a node that numbers the call of its layer, where it is not the first.
    static let callKey = "keras.call"
    /// The metadata of a node that only changes the layout of a tensor and belongs to no layer.
    static let layoutKey = "keras.layout"

    /// The graph so far.
    var graph = Graph()
    /// The file, for messages.
    let file: String
    /// Whether Keras 2 wrote the file; some functions differ.
    let isKeras2: Bool
    /// The path of the layer that is being lowered, such as `body/conv1`.
    private(set) var path = ""
    /// Which call of the layer.
    private(set) var call = 0
    /// The weights of the layer that is being lowered, by the last part of their names.
    private(set) var weights: OrderedDictionary<String, WeightGroup.Weight> = [:]
    /// What was made of each layer's weights.
    private(set) var records: OrderedDictionary<String, OrderedDictionary<String, WeightRecord>> = [:]
    /// Stored tensors that are no weights of the file and must not be trained.
    private(set) var constants: [String] = []
    private var converted: [ConversionKey: ValueID] = [:]
    private var shapes: [ValueID: [Int?]] = [:]
    private var isConverting = false
    /// What was converted to another layout, by the result.
    private(set) var origins: [ValueID: ValueID] = [:]
    /// The tensors that were converted, and the results.
    private(set) var tensors: [ValueID: ImportedTensor] = [:]

    /// The weight of a layer and the value that holds it.
    struct WeightRecord: Sendable {
        let name: String
        let value: ValueID
        let layout: WeightLayout
    }

    private struct ConversionKey: Hashable {
        let value: ValueID
        let layout: TensorLayout
    }

    private var arguments: JSON = .null

    init(file: String, isKeras2: Bool) {
        self.file = file
        self.isKeras2 = isKeras2
    }

    /// Begins a call of a layer.
    mutating func begin(
        _ path: String, call: Int, arguments: JSON, weights: OrderedDictionary<String, WeightGroup.Weight>
    ) {
        self.path = path
        self.call = call
        self.arguments = arguments
        self.weights = weights
    }

    /// A keyword argument of the call: in the fourth element of Keras 2's entries.
    func keyword(_ name: String) -> JSON? {
        let entry = arguments[0]?.string != nil ? arguments : arguments[0]
        return entry?[3]?[name] ?? arguments["kwargs"]?[name]
    }

    /// Adds a model input in the form of the file.
    mutating func input(_ name: String, shape: [Int?], type: ElementType) -> ImportedTensor {
        let dimensions = shape.enumerated().map { index, extent -> Dimension in
            if let extent { return Dimension(.fixed(extent)) }
            return index == 0 ? "N" : Dimension(.symbol("\(name)_dim\(index)"))
        }
        let value = graph.addInput(graph.uniqueValueName(name), type: .tensor(type, SymbolicShape(dimensions)))
        shapes[value] = shape
        return ImportedTensor(value: value, shape: shape, layout: .plain)
    }

    /// The shape of a value in the IR.
    func shape(of value: ValueID) -> [Int?] { shapes[value] ?? [] }

    // MARK: Weights

    /// The value that holds a weight of the layer; made on the first call and shared by the others.
    mutating func weight(_ name: String, _ layout: WeightLayout) throws -> ValueID {
        if let record = records[path]?[name] {
            guard record.layout == layout else {
                throw KerasError.unsupportedLayer(
                    path: file, layer: path, className: "shared layer",
                    reason: "its calls need the weight \(name) in different layouts")
            }
            return record.value
        }
        guard let weight = weights[name] else {
            let present = weights.keys.joined(separator: ", ")
            throw KerasError.weights(
                path: file, layer: path, reason: "it has no weight \(name)\(present.isEmpty ? "" : " among \(present)")"
            )
        }
        guard weight.tensor.shape == layout.kerasShape else {
            throw KerasError.weights(
                path: file, layer: path,
                reason: "the weight \(weight.name) has the shape \(weight.tensor.shape), expected \(layout.kerasShape)")
        }
        guard weight.tensor.elementType == .float32 else {
            throw KerasError.unsupportedLayer(
                path: file, layer: path, className: "weights",
                reason: "the weight \(weight.name) is of type \(weight.tensor.elementType.name); only float is covered")
        }
        let value = graph.addInitializer(graph.uniqueValueName("\(path)/\(name)"), try layout.apply(weight.tensor))
        records[path, default: [:]][name] = WeightRecord(name: weight.name, value: value, layout: layout)
        return value
    }

    /// The shape of a weight, where the file has it.
    func weightShape(_ name: String) -> [Int]? { weights[name]?.tensor.shape }

    /// Stores a tensor that is no weight: a scale of ones, a shape.
    mutating func constant(_ name: String, _ tensor: Tensor) -> ValueID {
        let value = graph.addInitializer(graph.uniqueValueName("\(path)/\(name)"), tensor)
        if tensor.elementType.isFloatingPoint { constants.append(graph[value].name) }
        return value
    }

    // MARK: Nodes

    /// Emits a node of the layer.
    ///
    /// - Parameter shape: the shape of the result in the IR.
    mutating func emit(
        _ op: String, _ inputs: [ValueID?], _ attributes: Attributes = Attributes(), shape: [Int?], suffix: String = ""
    ) -> ValueID {
        let callSuffix = call == 0 ? "" : "_call\(call)"
        let base = "\(path)\(callSuffix)/\(suffix.isEmpty ? op : suffix)"
        let elementType = inputs.first.flatMap { $0.flatMap { graph[$0].elementType } } ?? .float32
        let name = graph.uniqueValueName(base)
        let value = graph.add(
            OperatorName(op), inputs, attributes: attributes, name: name, output: name,
            type: .tensor(elementType, symbolic(shape)))
        if let node = graph[value].producer {
            graph[node].metadata[Self.layerKey] = path
            if call > 0 { graph[node].metadata[Self.callKey] = String(call) }
            if isConverting { graph[node].metadata[Self.layoutKey] = "true" }
        }
        shapes[value] = shape
        return value
    }

    private func symbolic(_ shape: [Int?]) -> SymbolicShape {
        SymbolicShape(
            shape.enumerated().map { index, extent in
                if let extent { return Dimension(.fixed(extent)) }
                return index == 0 ? "N" : Dimension(.unknown)
            })
    }

    // MARK: Layouts

    /// The tensor as Keras has it; a Transpose where it lies otherwise.
    mutating func plain(_ tensor: ImportedTensor) -> ImportedTensor {
        switch tensor.layout {
        case .plain: return tensor
        case .channelsFirst:
            return convert(tensor, to: .plain) { builder in
                builder.emit(
                    "Transpose", [tensor.value], ["perm": .ints([0, 2, 3, 1])], shape: tensor.shape,
                    suffix: "to_channels_last")
            }
        case .flattened(let height, let width, let channels):
            return convert(tensor, to: .plain) { builder in
                let image = builder.reshape(
                    tensor.value, [tensor.shape[0], channels, height, width], suffix: "to_image")
                let last = builder.emit(
                    "Transpose", [image], ["perm": .ints([0, 2, 3, 1])],
                    shape: [tensor.shape[0], height, width, channels], suffix: "to_channels_last")
                return builder.reshape(last, tensor.shape, suffix: "to_features")
            }
        }
    }

    /// An image `[N, H, W, C]` of Keras with its channels first.
    mutating func channelsFirst(_ tensor: ImportedTensor) -> ImportedTensor {
        guard tensor.layout == .plain, tensor.rank == 4 else { return tensor }
        let shape = [tensor.shape[0], tensor.shape[3], tensor.shape[1], tensor.shape[2]]
        return convert(tensor, to: .channelsFirst) { builder in
            // Without neighbours nothing has to move.
            if tensor.shape[1] == 1 && tensor.shape[2] == 1 {
                return builder.reshape(tensor.value, shape, suffix: "to_channels_first")
            }
            return builder.emit(
                "Transpose", [tensor.value], ["perm": .ints([0, 3, 1, 2])], shape: shape, suffix: "to_channels_first")
        }
    }

    private mutating func convert(
        _ tensor: ImportedTensor, to layout: TensorLayout, _ make: (inout GraphBuilder) -> ValueID
    ) -> ImportedTensor {
        let key = ConversionKey(value: tensor.value, layout: layout)
        let value: ValueID
        if let made = converted[key] {
            value = made
        } else {
            isConverting = true
            value = make(&self)
            isConverting = false
        }
        converted[key] = value
        origins[value] = tensor.value
        tensors[value] = ImportedTensor(value: value, shape: tensor.shape, layout: layout)
        tensors[tensor.value] = tensor
        // Back again is the value itself.
        converted[ConversionKey(value: value, layout: tensor.layout)] = tensor.value
        return ImportedTensor(value: value, shape: tensor.shape, layout: layout)
    }

    /// A Reshape; the batch keeps its extent.
    mutating func reshape(_ value: ValueID, _ shape: [Int?], suffix: String = "") -> ValueID {
        // 0 copies the extent of the input at the same place, which is right for the batch; -1 is the one unknown.
        var target = shape.map { $0 ?? -1 }
        if shapes[value]?.first == shape.first { target[0] = shape[0] ?? 0 }
        let extents = constant("\(suffix.isEmpty ? "shape" : suffix + "_shape")", Tensor(target.map { Int64($0) }))
        return emit("Reshape", [value, extents], shape: shape, suffix: suffix)
    }
}
