import GraftCore

/// A change to a model: what a pass adds, removes and replaces, as one thing.
///
/// A patch is the difference between two states of a model that share handles. It is applied whole or not at all, is
/// its own dry run (``description``, ``json``), and its ``inverse`` undoes it.
public struct Patch: Sendable, Equatable {
    /// One replaced thing: what must be there before and what is there after; nil for nothing.
    public struct Change<Item: Sendable & Equatable>: Sendable, Equatable {
        /// What must be there before.
        public let before: Item?
        /// What is there after.
        public let after: Item?

        var inverse: Change { Change(before: after, after: before) }
    }

    /// The pass that made the patch, such as `head`.
    public let title: String
    /// The nodes that change, by handle.
    public internal(set) var nodes: [NodeID: Change<Node>] = [:]
    /// The values that change, by handle.
    public internal(set) var values: [ValueID: Change<Value>] = [:]
    /// Everything of the graph but nodes and values, where it changes.
    var frame: Change<GraphFrame>?
    /// Everything of the model but the graph, where it changes.
    var shell: Change<Model>?

    /// Whether the patch changes nothing.
    public var isEmpty: Bool { nodes.isEmpty && values.isEmpty && frame == nil && shell == nil }

    /// The patch that a series of edits makes.
    ///
    /// - Parameters:
    ///   - title: the name of the pass.
    ///   - model: the model that the edits start from; it is not changed.
    ///   - edit: the edits, made on a copy.
    /// - Throws: what `edit` throws, and ``VerificationError`` where the result is no valid model.
    public static func recording(
        _ title: String, on model: Model, _ edit: (inout Model) throws -> Void
    ) throws -> Patch {
        var edited = model
        try edit(&edited)
        try Verifier.verify(edited)
        return Patch(title, from: model, to: edited)
    }

    /// The difference between two states of a model that share handles.
    public init(_ title: String, from old: Model, to new: Model) {
        self.title = title
        let nodeCount = max(old.graph.nodeSlots.count, new.graph.nodeSlots.count)
        for index in 0..<nodeCount {
            let before = old.graph.nodeSlots.indices.contains(index) ? old.graph.nodeSlots[index] : nil
            let after = new.graph.nodeSlots.indices.contains(index) ? new.graph.nodeSlots[index] : nil
            if before != after { nodes[NodeID(index)] = Change(before: before, after: after) }
        }
        let valueCount = max(old.graph.valueSlots.count, new.graph.valueSlots.count)
        for index in 0..<valueCount {
            let before = old.graph.valueSlots.indices.contains(index) ? old.graph.valueSlots[index] : nil
            let after = new.graph.valueSlots.indices.contains(index) ? new.graph.valueSlots[index] : nil
            if before != after { values[ValueID(index)] = Change(before: before, after: after) }
        }
        let frames = (GraphFrame(old.graph), GraphFrame(new.graph))
        if frames.0 != frames.1 { frame = Change(before: frames.0, after: frames.1) }
        let shells = (old.shell, new.shell)
        if shells.0 != shells.1 { shell = Change(before: shells.0, after: shells.1) }
    }

    /// The patch that undoes this one.
    public var inverse: Patch {
        var result = self
        result.nodes = nodes.mapValues(\.inverse)
        result.values = values.mapValues(\.inverse)
        result.frame = frame?.inverse
        result.shell = shell?.inverse
        return result
    }
}

/// Why a patch cannot be applied.
public enum PatchError: GraftError, Equatable {
    /// The model is not the one that the patch was made for.
    case doesNotFit(title: String, part: String)

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .doesNotFit(let title, let part):
            "the change \"\(title)\" does not fit this model: \(part) is not as it was when the change was made"
        }
    }
}

extension Model {
    /// Applies a patch whole, or throws and changes nothing.
    ///
    /// - Throws: ``PatchError`` where the model is not in the state that the patch starts from.
    public mutating func apply(_ patch: Patch) throws {
        for (id, change) in patch.nodes {
            let present = graph.nodeSlots.indices.contains(id.index) ? graph.nodeSlots[id.index] : nil
            guard present == change.before else {
                throw PatchError.doesNotFit(
                    title: patch.title, part: "node \((change.before ?? change.after)?.name ?? "")")
            }
        }
        for (id, change) in patch.values {
            let present = graph.valueSlots.indices.contains(id.index) ? graph.valueSlots[id.index] : nil
            guard present == change.before else {
                throw PatchError.doesNotFit(
                    title: patch.title, part: "value \((change.before ?? change.after)?.name ?? "")")
            }
        }
        if let frame = patch.frame, frame.before != GraphFrame(graph) {
            throw PatchError.doesNotFit(title: patch.title, part: "the list of nodes, inputs or outputs")
        }
        if let shell = patch.shell, shell.before != self.shell {
            throw PatchError.doesNotFit(title: patch.title, part: "what the model says about itself")
        }
        for (id, change) in patch.nodes {
            while graph.nodeSlots.count <= id.index { graph.nodeSlots.append(nil) }
            graph.nodeSlots[id.index] = change.after
        }
        for change in patch.values.values {
            if let before = change.before { graph.valueByName[before.name] = nil }
        }
        for (id, change) in patch.values {
            while graph.valueSlots.count <= id.index { graph.valueSlots.append(nil) }
            graph.valueSlots[id.index] = change.after
            if let after = change.after { graph.valueByName[after.name] = id }
        }
        patch.frame?.after?.write(to: &graph)
        if let after = patch.shell?.after {
            let graph = self.graph
            self = after
            self.graph = graph
        }
    }

    /// The model without its graph.
    var shell: Model {
        var copy = self
        copy.graph = Graph()
        return copy
    }
}

/// What a graph says besides its nodes and values.
struct GraphFrame: Sendable, Equatable {
    let order: [NodeID]
    let inputs: [ValueID]
    let outputs: [ValueID]
    let initializers: [ValueID]
    let sparseInitializers: [ValueID]
    let declarations: [ValueID]
    let name: String
    let docString: String
    let metadata: Metadata
    let carried: Carried

    init(_ graph: Graph) {
        order = graph.order
        inputs = graph.inputs
        outputs = graph.outputs
        initializers = graph.initializers
        sparseInitializers = graph.sparseInitializers
        declarations = graph.declarations
        name = graph.name
        docString = graph.docString
        metadata = graph.metadata
        carried = graph.carried
    }

    func write(to graph: inout Graph) {
        graph.order = order
        graph.inputs = inputs
        graph.outputs = outputs
        graph.initializers = initializers
        graph.sparseInitializers = sparseInitializers
        graph.declarations = declarations
        graph.name = name
        graph.docString = docString
        graph.metadata = metadata
        graph.carried = carried
    }
}
