import GraftIR

/// A graph while it is read, with the graphs around it, in which the names of a body are looked up.
final class GraphScope {
    var graph: Graph
    /// What makes each value, by handle, as words for messages; nil where nothing does yet.
    private var makers: [String?] = []
    /// The values that have a declaration.
    private var declared: [Bool] = []
    private let outer: GraphScope?
    private let path: String

    init(_ graph: Graph, outer: GraphScope?, path: String) {
        self.graph = graph
        self.outer = outer
        self.path = path
    }

    /// The value of a name, made on first sight.
    func value(named name: String) -> ValueID {
        if let id = graph.value(named: name) { return id }
        makers.append(nil)
        declared.append(false)
        return graph.addValue(name)
    }

    /// Notes that a part of the graph makes a value.
    ///
    /// - Throws: ``ONNXError/duplicateValue(path:graph:name:first:second:)`` where another does already; an initializer
    ///   may be an input too.
    @discardableResult
    func define(_ name: String, as maker: String) throws(ONNXError) -> ValueID {
        let id = value(named: name)
        if let first = makers[id.index] {
            guard first == "an input", maker == "an initializer" || maker == "an input" else {
                throw .duplicateValue(path: path, graph: graph.name, name: name, first: first, second: maker)
            }
            if maker == "an initializer", graph[id].isInitializer {
                throw .duplicateValue(path: path, graph: graph.name, name: name, first: maker, second: maker)
            }
            return id
        }
        makers[id.index] = maker
        return id
    }

    /// The value that a reader of that name means: the graph's own, or that of a graph around it.
    func resolve(_ name: String) -> ValueID { find(name) ?? value(named: name) }

    private func find(_ name: String) -> ValueID? {
        if let id = graph.value(named: name), makers[id.index] != nil { return id }
        guard let captured = outer?.find(name) else { return nil }
        let id = value(named: name)
        makers[id.index] = "a value of the graph around it"
        graph.makeCapture(id, of: captured)
        return id
    }

    /// Takes up a declaration of a value: as its own, or beside it where it says something else.
    func declare(
        _ id: ValueID, _ content: Declaration, at place: DeclarationVariant.Place, occurrence: Int
    ) {
        if !declared[id.index] {
            declared[id.index] = true
            graph[id].declaration = content
        } else if graph[id].declaration != content {
            let original = graph[id].declaration
            graph[id].variants.append(
                DeclarationVariant(place: place, occurrence: occurrence, content: content, original: original))
        }
    }
}
