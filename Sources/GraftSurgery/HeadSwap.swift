import GraftCore
import GraftIR
import OrderedCollections

/// Replaces the classifier of a network.
///
/// The node that multiplies by the classifier's matrix stays and reads new weights, so its output, its name, and the
/// name of the model's output stay; everything before it is untouched. What comes after (reshape, softmax) follows the
/// number of classes. `graft.head` then says where the body ends: the value named `features` is the same in the model
/// before and after, and is what a check of the body compares.
public enum HeadSwap: Pass {
    /// The name of the pass.
    public static let name = "head"
    /// What the pass does.
    public static let summary = "Replaces the classifier by a new one for other classes."

    /// The patch that gives a model a new head.
    ///
    /// - Throws: ``HeadError`` where the head cannot be told, ``HeadSwapError`` where it cannot be replaced.
    public static func patch(for model: Model, _ options: HeadOptions) throws -> Patch {
        try check(options)
        let head = try HeadFinder(model).head(at: options.place)
        var details = options.details
        details["node"] = JSON(model.graph[head.node].label(in: model.graph))
        return try record(on: model, details: details) { model in
            var surgery = HeadSurgery(model: model, head: head, options: options)
            try surgery.operate()
            model = surgery.model
        }
    }

    static func check(_ options: HeadOptions) throws {
        guard options.classes.count > 0 else { throw HeadSwapError.classes("there must be at least one") }
        if let names = options.classes.names {
            var seen = Set<String>()
            for name in names where !seen.insert(name).inserted {
                throw HeadSwapError.classes("\"\(name)\" is named twice")
            }
            if names.contains("") { throw HeadSwapError.classes("a name is empty") }
        }
        if options.keepsNamedClasses, options.classes.names == nil {
            throw HeadSwapError.option("--keep needs the names of the new classes")
        }
        if options.keepsNamedClasses, options.hidden != nil {
            throw HeadSwapError.option("--keep cannot carry weights past a hidden layer")
        }
        if let hidden = options.hidden, hidden < 1 || hidden > 1 << 20 {
            throw HeadSwapError.option("the hidden layer needs a width from 1 to 1048576, not \(hidden)")
        }
        if let dropout = options.dropout, !(0..<1).contains(dropout) {
            throw HeadSwapError.option("the dropout must be at least 0 and below 1, not \(dropout)")
        }
    }
}

/// The steps of a head swap on a copy of the model.
private struct HeadSurgery {
    var model: Model
    let head: HeadCandidate
    let options: HeadOptions
    private var added: [String] = []

    init(model: Model, head: HeadCandidate, options: HeadOptions) {
        self.model = model
        self.head = head
        self.options = options
    }

    private var kernel: [Int] { if case .convolution(let kernel) = head.form { kernel } else { [] } }

    mutating func operate() throws {
        nameNode()
        let elementType = trainableType()
        var weights = try HeadWeights(
            options, features: options.hidden ?? head.featureCount, kernel: kernel.reduce(1, *))
        try keepClasses(&weights)
        try replaceWeights(weights, as: elementType)
        try insertHidden(as: elementType)
        try insertDropout()
        var tail = HeadTail(model: model, head: head, classCount: options.classes.count)
        try tail.follow()
        try tail.setActivation(options.activation)
        model = tail.model
        try annotate(logits: tail.logits)
    }

    /// The marker names the node, so it needs a name of its own.
    private mutating func nameNode() {
        let present = model.graph[head.node].name
        if present.isEmpty || model.graph.node(named: present) != head.node {
            model.graph[head.node].name = model.graph.uniqueNodeName(present.isEmpty ? "head" : present)
        }
    }

    /// The type of the new weights: of the features, so that a quantized head becomes one that can be trained.
    private func trainableType() -> ElementType {
        let stored = model.graph[head.node].inputs[1].flatMap { model.graph.constantTensor(of: $0)?.elementType }
        if let stored, stored.isFloatingPoint, stored.bitWidth >= 16 { return stored }
        return .float32
    }

    // MARK: Weights

    private mutating func keepClasses(_ weights: inout HeadWeights) throws {
        guard options.keepsNamedClasses, let names = options.classes.names else { return }
        guard let labels = options.presentLabels ?? model.classLabels?.names else { throw HeadSwapError.noLabels }
        guard labels.count == head.classCount else {
            throw HeadSwapError.classes(
                "the model has \(head.classCount) classes, but \(labels.count) names are known for them")
        }
        let node = model.graph[head.node]
        guard let weight = node.inputs[1], let (stored, _) = try model.graph.constantFloats(of: weight) else {
            throw HeadSwapError.option(
                "the present weights of \"\(node.name)\" cannot be read through the nodes that make them")
        }
        var biases = [Float](repeating: 0, count: head.classCount)
        if let bias = biasOperand().value, let (values, _) = try model.graph.constantFloats(of: bias) {
            biases =
                values.count == head.classCount ? values : Array(repeating: values.first ?? 0, count: head.classCount)
        }
        // The factors of Gemm become a part of the weights.
        let (alpha, beta) = (node.attributes.float("alpha") ?? 1, node.attributes.float("beta") ?? 1)
        var rows: [Float] =
            switch head.form {
            case .gemmRows, .convolution: stored
            case .gemmColumns, .matMul: transposed(stored, rows: head.featureCount, columns: head.classCount)
            }
        if alpha != 1 { rows = rows.map { $0 * alpha } }
        if beta != 1 { biases = biases.map { $0 * beta } }
        let width = head.featureCount * kernel.reduce(1, *)
        guard rows.count == head.classCount * width else {
            throw HeadSwapError.option(
                "the present weights of \"\(node.name)\" are not of the shape that they should be")
        }
        weights.keep(names, from: (rows, biases), labels: labels)
    }

    /// The node and input that read the bias, and the bias, where there is one.
    private func biasOperand() -> (node: NodeID, index: Int, value: ValueID?) {
        let graph = model.graph
        if let add = head.biasNode {
            let product = graph[head.node].outputs[0]
            let index = graph[add].inputs[0] == product ? 1 : 0
            return (add, index, graph[add].inputs[index])
        }
        let node = graph[head.node]
        return (head.node, 2, node.inputs.indices.contains(2) ? node.inputs[2] : nil)
    }

    private mutating func replaceWeights(_ weights: HeadWeights, as type: ElementType) throws {
        let classes = options.classes.count
        let features = options.hidden ?? head.featureCount
        let tensor: Tensor =
            switch head.form {
            case .gemmRows: try Tensor(weights.rows, as: type, shape: [classes, features])
            case .gemmColumns, .matMul:
                try Tensor(
                    transposed(weights.rows, rows: classes, columns: features), as: type, shape: [features, classes])
            case .convolution(let kernel): try Tensor(weights.rows, as: type, shape: [classes, features] + kernel)
            }
        replaceOperand(1, of: head.node, with: tensor, fallbackName: "head.weight")
        let bias = try Tensor(weights.biases, as: type, shape: [classes])
        if head.form == .matMul, head.biasNode == nil {
            insertBias(bias)
        } else {
            let (node, index, _) = biasOperand()
            if !model.graph[node].inputs.indices.contains(index) {
                model.graph.setInputs(of: node, to: model.graph[node].inputs + [nil])
            }
            var shaped = bias
            if head.biasNode != nil, case .convolution(let kernel) = head.form {
                // Added to a map: classes, then positions.
                shaped = try bias.reshaped([classes] + kernel.map { _ in 1 })
            }
            replaceOperand(index, of: node, with: shaped, fallbackName: "head.bias")
        }
        // New weights are used as they are.
        for factor in ["alpha", "beta"] where model.graph[head.node].attributes.float(factor) ?? 1 != 1 {
            model.graph.setAttribute(factor, of: head.node, to: .float(1))
        }
    }

    /// Lets a node read a new stored tensor, under the name of the old one where nothing else reads that.
    private mutating func replaceOperand(_ index: Int, of node: NodeID, with tensor: Tensor, fallbackName: String) {
        let old = model.graph[node].inputs[index]
        if let old, model.graph[old].initializer != nil, model.graph[old].uses.count == 1 {
            model.graph.setTensor(old, tensor)
            added.append(model.graph[old].name)
            return
        }
        // The name of a tensor behind views of it, or of a Constant, becomes free with them.
        let stored = old.flatMap { source(of: $0) }
        let name = stored.map { id in
            let name = model.graph[id].name
            return name.hasSuffix("_quantized") ? String(name.dropLast("_quantized".count)) : name
        }
        model.graph.setInput(index, of: node, to: nil)
        if let old { model.graph.removeUnused([old]) }
        let free = name.flatMap { model.graph.value(named: $0) == nil ? $0 : nil }
        let fresh = model.graph.addInitializer(model.graph.uniqueValueName(free ?? fallbackName), tensor)
        model.graph.setInput(index, of: node, to: fresh)
        added.append(model.graph[fresh].name)
    }

    private func source(of value: ValueID) -> ValueID? {
        var value = value
        for _ in 0..<16 {
            if model.graph.constantTensor(of: value) != nil { return value }
            guard let node = model.graph[value].producer, let next = model.graph[node].inputs.first.flatMap({ $0 })
            else {
                return nil
            }
            value = next
        }
        return nil
    }

    /// Adds a bias to a product that had none; the scores keep their value and name.
    private mutating func insertBias(_ bias: Tensor) {
        let name = model.graph[head.node].name
        let stored = model.graph.addInitializer(model.graph.uniqueValueName("head.bias"), bias)
        let product = model.graph.addValue(model.graph.uniqueValueName("\(name)_product"))
        model.graph.setOutput(0, of: head.node, to: product)
        let position = (model.graph.position(of: head.node) ?? model.graph.nodeCount - 1) + 1
        model.graph.addNode(
            "Add", name: model.graph.uniqueNodeName("\(name)_bias"), inputs: [product, stored], outputs: [head.logits],
            at: position)
        added.append(model.graph[stored].name)
    }

    // MARK: Layers before the classifier

    private mutating func insertHidden(as type: ElementType) throws {
        guard let width = options.hidden else { return }
        let features = head.featureCount
        let base = "\(model.graph[head.node].name)_hidden"
        let rows = HeadWeights.kaiming(width: features, count: width * features, seed: options.seed, use: "head.hidden")
        let columns = transposed(rows, rows: width, columns: features)
        let bias = model.graph.addInitializer(
            model.graph.uniqueValueName("\(base).bias"),
            try Tensor([Float](repeating: 0, count: width), as: type, shape: [width]))
        let weightName = model.graph.uniqueValueName("\(base).weight")
        var value = head.features
        switch head.form {
        case .convolution(let kernel):
            let weight = model.graph.addInitializer(
                weightName, try Tensor(rows, as: type, shape: [width, features] + kernel.map { _ in 1 }))
            value = model.graph.insert(
                "Conv", after: value, before: head.node, inputs: [weight, bias],
                attributes: ["kernel_shape": .ints(kernel.map { _ in 1 })], name: base)
            added.append(weightName)
        case .gemmRows, .gemmColumns:
            let weight = model.graph.addInitializer(
                weightName, try Tensor(columns, as: type, shape: [features, width]))
            value = model.graph.insert("Gemm", after: value, before: head.node, inputs: [weight, bias], name: base)
            added.append(weightName)
        case .matMul:
            let weight = model.graph.addInitializer(
                weightName, try Tensor(columns, as: type, shape: [features, width]))
            value = model.graph.insert("MatMul", after: value, before: head.node, inputs: [weight], name: base)
            model.graph[value].type = nil
            value = model.graph.insert("Add", after: value, before: head.node, inputs: [bias], name: "\(base)_bias")
            added.append(weightName)
        }
        model.graph[value].type = nil
        added.append(model.graph[bias].name)
        let activated = model.graph.insert("Relu", after: value, before: head.node, name: "\(base)_relu")
        model.graph[activated].type = nil
    }

    private mutating func insertDropout() throws {
        guard let share = options.dropout, share > 0, let value = model.graph[head.node].inputs[0] else { return }
        let opset = model.opset() ?? 1
        guard opset >= 7 else {
            throw HeadSwapError.option("dropout needs opset 7 or later; the model has \(opset)")
        }
        let name = "\(model.graph[head.node].name)_dropout"
        if opset >= 12 {
            let ratio = model.graph.addInitializer(
                model.graph.uniqueValueName("\(name).ratio"), Tensor(scalar: Float(share)))
            model.graph.insert("Dropout", after: value, before: head.node, inputs: [ratio], name: name)
        } else {
            model.graph.insert(
                "Dropout", after: value, before: head.node, attributes: ["ratio": .float(Float(share))], name: name)
        }
    }

    // MARK: Annotations

    private mutating func annotate(logits: ValueID) throws {
        let graph = model.graph
        let marker = HeadMarker(
            node: graph[head.node].name, features: graph[head.features].name, logits: graph[logits].name,
            classes: options.classes.count)
        let names = Set(graph.values.lazy.map { graph[$0].name })
        // Class names that another program left are those of the old classes.
        if let labels = model.classLabels, labels.key != "graft.labels" { model.metadata[labels.key] = nil }
        try model.updateAnnotations { annotations in
            annotations.labels = options.classes.names
            annotations.head = marker
            if let contract = options.preprocessing { annotations.preprocessing = contract }
            annotations.keep { names.contains($0) }
            for name in added { annotations.frozen.remove(name) }
        }
    }
}
