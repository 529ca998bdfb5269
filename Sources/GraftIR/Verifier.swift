import GraftCore

/// What is wrong with a graph, in the words of its file.
public struct VerificationError: GraftError, Equatable {
    /// Every fault that was found, each a sentence.
    public let faults: [String]

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        let shown = faults.prefix(10).joined(separator: "; ")
        return faults.count > 10 ? "\(shown); and \(faults.count - 10) more" : shown
    }
}

/// Checks that a model is whole: every name made once and before it is read, every edge recorded on both ends.
public enum Verifier {
    /// Checks a model with the bodies of its control-flow nodes and its functions.
    ///
    /// - Throws: ``VerificationError`` with all faults.
    public static func verify(_ model: Model) throws(VerificationError) {
        var faults = verify(model.graph, path: "")
        let domains = Set(model.opsets.map { $0.domain == "ai.onnx" ? "" : $0.domain })
        let functions = Set(model.functions.map(\.name.canonical))
        var missing = Set<String>()
        collectDomains(model.graph, into: &missing, except: functions)
        for domain in missing.subtracting(domains).sorted() {
            faults.append("the domain \"\(domain.isEmpty ? "ai.onnx" : domain)\" is used but not imported")
        }
        for function in model.functions {
            faults += verify(function.body, path: "function \(function.name): ")
        }
        if !faults.isEmpty { throw VerificationError(faults: faults) }
    }

    private static func collectDomains(_ graph: Graph, into domains: inout Set<String>, except: Set<OperatorName>) {
        for id in graph.order {
            if !except.contains(graph[id].op.canonical) { domains.insert(graph[id].op.canonicalDomain) }
            for body in graph.bodies(of: id) { collectDomains(body.graph, into: &domains, except: except) }
        }
    }

    /// The faults of one graph.
    static func verify(_ graph: Graph, path: String) -> [String] {
        var faults: [String] = []
        func fault(_ text: String) { faults.append(path + text) }

        let live = Set(graph.order)
        if live.count != graph.order.count { fault("a node stands twice in the order") }
        for index in graph.nodeSlots.indices where graph.nodeSlots[index] != nil && !live.contains(NodeID(index)) {
            fault("node \(NodeID(index)) exists but is not in the order")
        }

        var expectedUses: [ValueID: [Use]] = [:]
        var made = Set<ValueID>()
        for id in graph.values {
            let value = graph[id]
            if graph.valueByName[value.name] != id { fault("the name \(value.name) leads to another value") }
            switch value.origin {
            case .input: if !graph.inputs.contains(id) { fault("\(value.name) is marked an input but is not listed") }
            case .initializer: if !value.isInitializer { fault("\(value.name) is marked stored but has no tensor") }
            case .node(let node, let output):
                if !graph.contains(node) || !graph[node].outputs.indices.contains(output)
                    || graph[node].outputs[output] != id
                {
                    fault("\(value.name) names a node that does not make it")
                }
            case .capture, .none: break
            }
            switch value.origin {
            case .node, .none: break
            default: made.insert(id)
            }
        }

        for id in graph.order where graph.contains(id) {
            let node = graph[id]
            let label = node.label(in: graph)
            for (index, input) in node.inputs.enumerated() {
                guard let input else { continue }
                guard graph.contains(input) else {
                    fault("\(label): input \(index) was removed")
                    continue
                }
                expectedUses[input, default: []].append(.node(id, input: index))
                if !made.contains(input) {
                    fault("\(label) reads \(graph[input].name) before anything makes it")
                }
            }
            for body in graph.bodies(of: id) {
                for inner in body.graph.values {
                    guard case .capture(let outer) = body.graph[inner].origin else { continue }
                    guard graph.contains(outer) else {
                        fault("\(label): a captured value was removed")
                        continue
                    }
                    expectedUses[outer, default: []].append(
                        .capture(id, attribute: body.attribute, body: body.index, value: inner))
                    if graph[outer].name != body.graph[inner].name {
                        fault("\(label) captures \(graph[outer].name) as \(body.graph[inner].name)")
                    }
                    if !made.contains(outer) {
                        fault("\(label) captures \(graph[outer].name) before anything makes it")
                    }
                }
                faults += verify(body.graph, path: "\(path)\(label) / \(body.attribute): ")
            }
            for output in node.outputs {
                guard let output else { continue }
                guard graph.contains(output) else {
                    fault("\(label): an output was removed")
                    continue
                }
                if !made.insert(output).inserted { fault("\(graph[output].name) is made twice") }
            }
        }
        for (index, output) in graph.outputs.enumerated() {
            guard graph.contains(output) else {
                fault("output \(index) was removed")
                continue
            }
            expectedUses[output, default: []].append(.output(index))
            if !made.contains(output) { fault("nothing makes the output \(graph[output].name)") }
        }
        for id in graph.values where Set(graph[id].uses) != Set(expectedUses[id] ?? []) {
            fault("the uses of \(graph[id].name) are not as recorded")
        }
        return faults
    }
}
