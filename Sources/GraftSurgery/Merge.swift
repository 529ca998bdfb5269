import GraftCore
import GraftIR
import OrderedCollections

/// Puts a second model behind a model: outputs of the first feed inputs of the second.
public enum Merge: Pass {
    /// What is joined, and how.
    public struct Options: Sendable, Equatable {
        /// The second model.
        public var second: Model
        /// Which output of the first feeds which input of the second; the only pair, or those of one name, where empty.
        public var map: [(output: String, input: String)]
        /// What is put before names of the second model that the first has too; nil to refuse such names.
        public var prefix: String?

        /// A second model.
        public init(_ second: Model, map: [(output: String, input: String)] = [], prefix: String? = nil) {
            self.second = second
            self.map = map
            self.prefix = prefix
        }

        public static func == (a: Options, b: Options) -> Bool {
            a.second == b.second && a.prefix == b.prefix && a.map.elementsEqual(b.map) { $0 == $1 }
        }
    }

    /// The name of the pass.
    public static let name = "merge"
    /// What the pass does.
    public static let summary = "Puts a second model behind a model."

    /// The patch that adds the second model.
    ///
    /// The outputs are those of the first that feed nothing, then those of the second. Where the two use different
    /// versions of ONNX's operators the older one is converted to the newer.
    /// - Throws: ``MergeError``, and ``OpsetError`` where one cannot be converted.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        let pairs = try resolve(options.map, model.graph, options.second.graph)
        let details: JSON = ["map": JSON(pairs.map { JSON("\(model.graph[$0.output].name):\($0.input)") })]
        return try record(on: model, details: details) { edited in
            var second = options.second
            try align(&edited, &second)
            var names = MergeNames(edited, prefix: options.prefix)
            try names.prepare(&second, connected: Set(pairs.map(\.input)))
            let types = try Inference.inferTypes(of: edited)
            let joints = pairs.map { (output: $0.output, input: names.name($0.input)) }
            try followExtents(joints, types, &second)
            var mapping: [ValueID: ValueID] = [:]
            for pair in joints {
                guard let input = second.graph.value(named: pair.input) else { continue }
                try checkTypes(types.type(of: pair.output), edited.graph[pair.output].name, second.graph[input])
                mapping[input] = pair.output
            }
            let fed = Set(pairs.map(\.output))
            let kept = edited.graph.outputs.filter { !fed.contains($0) }
            edited.graph.append(second.graph, mapping: &mapping)
            edited.graph.setOutputs(kept + second.graph.outputs.compactMap { mapping[$0] })
            edited.functions += second.functions.filter { function in
                !edited.functions.contains { $0.name.canonical == function.name.canonical }
            }
            edited.irVersion = max(edited.irVersion, second.irVersion)
            try joinMetadata(second, into: &edited, prefix: options.prefix)
        }
    }

    /// Which output feeds which input: what is given, or what follows from the names.
    ///
    /// - Throws: ``MergeError``.
    public static func joints(
        _ map: [(output: String, input: String)], _ first: Model, _ second: Model
    ) throws -> [(output: String, input: String)] {
        try resolve(map, first.graph, second.graph).map { (first.graph[$0.output].name, $0.input) }
    }

    private static func resolve(
        _ map: [(output: String, input: String)], _ first: Graph, _ second: Graph
    ) throws -> [(output: ValueID, input: String)] {
        let outputs = first.outputs.map { first[$0].name }
        let inputs = second.inputs.filter { !second[$0].isInitializer }.map { second[$0].name }
        var map = map
        if map.isEmpty {
            map = inputs.filter { outputs.contains($0) }.map { ($0, $0) }
            if map.isEmpty, outputs.count == 1, inputs.count == 1 { map = [(outputs[0], inputs[0])] }
            if map.isEmpty { throw MergeError.noMap(outputs: outputs, inputs: inputs) }
        }
        var used: Set<String> = []
        return try map.map { pair in
            guard let output = first.value(named: pair.output) else {
                let known = first.values.map { first[$0].name }
                throw MergeError.noSuchName(
                    "the first model has no value", pair.output, Suggestion.sentence(pair.output, in: known))
            }
            guard inputs.contains(pair.input) else {
                throw MergeError.noSuchName(
                    "the second model has no input", pair.input, Suggestion.sentence(pair.input, in: inputs))
            }
            guard used.insert(pair.input).inserted else { throw MergeError.fedTwice(input: pair.input) }
            return (output, pair.input)
        }
    }

    /// Brings both to the same version of every domain's operators.
    private static func align(_ first: inout Model, _ second: inout Model) throws {
        if let a = first.opset(), let b = second.opset(), a != b {
            if a < b {
                try first.apply(OpsetConversion.patch(for: first, .init(target: b)))
                first.metadata = try withoutLastHistory(first)
            } else {
                try second.apply(OpsetConversion.patch(for: second, .init(target: a)))
                second.metadata = try withoutLastHistory(second)
            }
        }
        for entry in second.opsets {
            if let present = first.opset(of: entry.domain) {
                guard present == entry.version else {
                    throw MergeError.versions(domain: entry.domain, first: present, second: entry.version)
                }
            } else {
                first.importOpset(entry.domain, version: entry.version)
            }
        }
    }

    private static func withoutLastHistory(_ model: Model) throws -> Metadata {
        var copy = model
        try copy.updateAnnotations { $0.history.removeLast() }
        return copy.metadata
    }

    /// Names of extents of the second model become those of the first where the two meet.
    private static func followExtents(
        _ pairs: [(output: ValueID, input: String)], _ types: InferredTypes, _ second: inout Model
    ) throws {
        var bindings: [String: Extent] = [:]
        for pair in pairs {
            guard let shape = types.shape(of: pair.output), let input = second.graph.value(named: pair.input),
                let wanted = second.graph[input].shape, wanted.rank == shape.rank
            else { continue }
            for axis in 0..<shape.rank where shape[axis].extent.isKnown {
                if case .symbol(let name) = wanted[axis].extent, bindings[name] == nil {
                    bindings[name] = shape[axis].extent
                }
            }
        }
        guard !bindings.isEmpty else { return }
        for id in second.graph.values {
            guard var shape = second.graph[id].type?.shape else { continue }
            for axis in 0..<shape.rank { shape[axis].extent = shape[axis].extent.substituting(bindings) }
            if shape != second.graph[id].type?.shape { second.graph[id].type?.shape = shape }
        }
    }

    private static func checkTypes(_ type: ValueType?, _ output: String, _ input: Value) throws {
        func refuse(_ reason: String) -> MergeError { .types(output: output, input: input.name, reason: reason) }
        guard let type, let wanted = input.type else { return }
        if let a = type.elementType, let b = wanted.elementType, a != b { throw refuse("\(a.name) and \(b.name)") }
        guard let a = type.shape, let b = wanted.shape else { return }
        let fits =
            a.rank == b.rank
            && zip(a.dimensions, b.dimensions).allSatisfy { x, y in
                x.count == nil || y.count == nil || x.count == y.count
            }
        if !fits { throw refuse("\(a) and \(b)") }
    }

    private static func joinMetadata(_ second: Model, into model: inout Model, prefix: String?) throws {
        let theirs = try second.annotations()
        let hasAnnotations = second.metadata.entries.contains { $0.key.hasPrefix("graft.") }
        for entry in second.metadata.entries where !entry.key.hasPrefix("graft.") {
            switch model.metadata[entry.key] {
            case nil: model.metadata.entries.append(entry)
            case entry.value: break
            default:
                var key = "\(prefix ?? "second.")\(entry.key)"
                while model.metadata[key] != nil { key = "second.\(key)" }
                model.metadata[key] = entry.value
            }
        }
        guard hasAnnotations else { return }
        try model.updateAnnotations { annotations in
            annotations.frozen.formUnion(theirs.frozen)
            for (name, group) in theirs.groups where annotations.groups[name] == nil {
                annotations.groups[name] = group
            }
            annotations.groupOfParameter.merge(theirs.groupOfParameter) { mine, _ in mine }
            annotations.batchNorm.merge(theirs.batchNorm) { mine, _ in mine }
            if annotations.defaultBatchNorm == nil { annotations.defaultBatchNorm = theirs.defaultBatchNorm }
            // Classes and head are at the end of a model, the preparation of inputs at its beginning.
            if theirs.labels != nil { annotations.labels = theirs.labels }
            if theirs.head != nil { annotations.head = theirs.head }
            if annotations.preprocessing == nil { annotations.preprocessing = theirs.preprocessing }
            annotations.history += theirs.history
        }
    }
}

/// Gives the second model names that the first does not have.
private struct MergeNames {
    private let prefix: String?
    private let first: Model
    private var taken: Set<String> = []
    private var renamed: [String: String] = [:]

    init(_ first: Model, prefix: String?) {
        self.first = first
        self.prefix = prefix
        func collect(_ graph: Graph, _ names: inout Set<String>) {
            for id in graph.values { names.insert(graph[id].name) }
            for id in graph.order { for body in graph.bodies(of: id) { collect(body.graph, &names) } }
        }
        collect(first.graph, &taken)
    }

    /// The new name of a value of the second model.
    func name(_ old: String) -> String { renamed[old] ?? old }

    /// Renames in the second model.
    mutating func prepare(_ second: inout Model, connected: Set<String>) throws {
        var clashes: [String] = []
        let nodes = Set(first.graph.order.map { first.graph[$0].name })
        try rename(&second.graph, nodes: nodes, connected: connected, clashes: &clashes)
        for index in second.functions.indices {
            let name = second.functions[index].name
            guard let mine = first.function(name), mine != second.functions[index] else { continue }
            guard let prefix else {
                clashes.append("\(name)")
                continue
            }
            var fresh = name
            fresh.type = "\(prefix)\(name.type)"
            second.functions[index].name = fresh
            Self.recall(name.canonical, as: fresh, in: &second.graph)
            for other in second.functions.indices {
                Self.recall(name.canonical, as: fresh, in: &second.functions[other].body)
            }
        }
        if !clashes.isEmpty { throw MergeError.clashes(clashes) }
        if !renamed.isEmpty, second.metadata.entries.contains(where: { $0.key.hasPrefix("graft.") }) {
            let changes = renamed
            try second.updateAnnotations { annotations in
                for (old, new) in changes { annotations.rename(old, to: new) }
            }
        }
    }

    private mutating func rename(
        _ graph: inout Graph, nodes: Set<String>, connected: Set<String>, clashes: inout [String]
    ) throws {
        let before = graph
        defer { graph.followRenamedValues(since: before) }
        for id in graph.values {
            let old = graph[id].name
            if case .capture = graph[id].origin { continue }
            // Inputs that are fed vanish, but their names may stand in the way of captures until then.
            guard taken.contains(old) else { continue }
            guard let prefix else {
                if !connected.contains(old) {
                    clashes.append(old)
                    continue
                }
                let fresh = graph.uniqueValueName("\(old)_fed")
                graph.rename(id, to: fresh)
                renamed[old] = fresh
                continue
            }
            var fresh = "\(prefix)\(old)"
            while taken.contains(fresh) || graph.value(named: fresh) != nil { fresh = "\(prefix)\(fresh)" }
            guard fresh != old, !prefix.isEmpty else { throw MergeError.emptyPrefix }
            graph.rename(id, to: fresh)
            renamed[old] = fresh
        }
        for id in graph.order {
            if let prefix, !graph[id].name.isEmpty, nodes.contains(graph[id].name) {
                let old = graph[id].name
                graph[id].name = "\(prefix)\(old)"
                if renamed[old] == nil { renamed[old] = "\(prefix)\(old)" }
            }
            for body in graph.bodies(of: id) {
                var inner = body.graph
                try rename(&inner, nodes: nodes, connected: [], clashes: &clashes)
                guard inner != body.graph else { continue }
                graph.setBody(inner, of: id, attribute: body.attribute, index: body.index)
            }
        }
    }

    private static func recall(_ old: OperatorName, as new: OperatorName, in graph: inout Graph) {
        for id in graph.order {
            if graph[id].op.canonical == old { graph[id].op = new }
            for body in graph.bodies(of: id) {
                var inner = body.graph
                recall(old, as: new, in: &inner)
                if inner != body.graph {
                    graph.setBody(inner, of: id, attribute: body.attribute, index: body.index)
                }
            }
        }
    }
}

/// Why two models cannot be joined.
public enum MergeError: GraftError, Equatable {
    /// Which output feeds which input is not clear.
    case noMap(outputs: [String], inputs: [String])
    /// A name in the map is not there.
    case noSuchName(String, String, String)
    /// An input is fed by two outputs.
    case fedTwice(input: String)
    /// A domain's operators have different versions.
    case versions(domain: String, first: Int, second: Int)
    /// An output does not fit an input.
    case types(output: String, input: String, reason: String)
    /// Both models have these names.
    case clashes([String])
    /// The prefix changes nothing.
    case emptyPrefix

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .noMap(let outputs, let inputs):
            "say which output feeds which input (--map OUTPUT:INPUT): the first gives "
                + "\(outputs.joined(separator: ", ")), the second takes \(inputs.joined(separator: ", "))"
        case .noSuchName(let what, let name, let suggestion): "\(what) \"\(name)\".\(suggestion)"
        case .fedTwice(let input): "the input \"\(input)\" is fed twice"
        case .versions(let domain, let first, let second):
            "the models use versions \(first) and \(second) of the domain \"\(domain)\", which is not converted"
        case .types(let output, let input, let reason):
            "the output \"\(output)\" does not fit the input \"\(input)\": \(reason)"
        case .clashes(let names):
            "both models have \(names.prefix(5).map { "\"\($0)\"" }.joined(separator: ", "))"
                + (names.count > 5 ? " and \(names.count - 5) more" : "")
                + "; --prefix TEXT is put before such names of the second"
        case .emptyPrefix: "the prefix is empty"
        }
    }
}
