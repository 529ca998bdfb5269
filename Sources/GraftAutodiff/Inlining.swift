import GraftCore
import GraftIR

/// Why a model has no training form.
public enum TrainingFormError: GraftError, Equatable {
    /// A function uses other operator versions than the model.
    case opsetMismatch(function: OperatorName, domain: String, version: Int, model: Int)
    /// Inlining would make too large a graph.
    case tooLarge(nodes: Int)
    /// A batch normalization cannot be trained as asked.
    case batchNorm(node: String, reason: String)

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .opsetMismatch(let name, let domain, let version, let model):
            "the function \(name) is written for version \(version) of the operators \"\(domain)\", the model for "
                + "\(model); convert the model to one opset first"
        case .tooLarge(let nodes): "the model's functions expand to more than \(nodes) nodes"
        case .batchNorm(let node, let reason): "the batch normalization \"\(node)\" \(reason)"
        }
    }
}

/// Replaces calls of the model's functions, and If nodes whose condition is known, by the nodes of the body.
struct Inlining {
    /// The most nodes that a graph may grow to.
    static let nodeLimit = 1_000_000

    /// Inlines until nothing is left to inline.
    static func run(on model: inout Model) throws {
        var round = 0
        while try inlineOnce(&model) {
            round += 1
            if round > 64 { throw TrainingFormError.tooLarge(nodes: nodeLimit) }
        }
    }

    private static func inlineOnce(_ model: inout Model) throws -> Bool {
        let hasFunctions = !model.functions.isEmpty
        let hasBranches = model.graph.order.contains { model.graph[$0].op.isONNX("If") }
        guard hasFunctions || hasBranches else { return false }
        let types = hasBranches ? try Inference.inferTypes(of: model) : InferredTypes()
        var changed = false
        for id in model.graph.order {
            let node = model.graph[id]
            if let function = model.function(node.op) {
                try importOpsets(of: function, into: &model)
                let body = function.body(boundTo: node.attributes)
                var map: [ValueID: ValueID] = [:]
                for (inner, outer) in zip(body.inputs, node.inputs) { map[inner] = outer }
                splice(body, in: &model.graph, replacing: id, map: map)
                changed = true
            } else if node.op.isONNX("If"), let condition = node.inputs.first ?? nil,
                let value = types.content(of: condition)?.integers?.first,
                let branch = node.attributes.graph(value != 0 ? "then_branch" : "else_branch")
            {
                splice(branch, in: &model.graph, replacing: id, map: [:])
                changed = true
            }
            if model.graph.nodeCount > nodeLimit { throw TrainingFormError.tooLarge(nodes: nodeLimit) }
        }
        return changed
    }

    private static func importOpsets(of function: Function, into model: inout Model) throws(TrainingFormError) {
        for opset in function.opsets {
            if let present = model.opset(of: opset.domain) {
                guard present == opset.version else {
                    throw .opsetMismatch(
                        function: function.name, domain: opset.domain.isEmpty ? "ai.onnx" : opset.domain,
                        version: opset.version, model: present)
                }
            } else {
                model.importOpset(opset.domain, version: opset.version)
            }
        }
    }

    /// Puts the nodes of a body in the place of a node.
    private static func splice(
        _ body: Graph, in graph: inout Graph, replacing id: NodeID, map known: [ValueID: ValueID]
    ) {
        let node = graph[id]
        var position = graph.position(of: id) ?? graph.nodeCount
        let prefix = node.label(in: graph)
        graph.removeNode(id)
        var map = known
        for value in body.values where map[value] == nil {
            switch body[value].origin {
            case .capture(let outer): map[value] = outer
            // An input that the call leaves out stays left out.
            case .input: break
            default:
                let copy = graph.addValue(
                    graph.uniqueValueName("\(prefix)/\(body[value].name)"), type: body[value].type)
                if let stored = body[value].initializer { graph.setInitializer(copy, stored) }
                if let stored = body[value].sparseInitializer { graph.setSparseInitializer(copy, stored) }
                map[value] = copy
            }
        }
        for inner in body.order {
            let source = body[inner]
            let name = source.name.isEmpty ? "" : "\(prefix)/\(source.name)"
            let copy = graph.addNode(
                source.op, name: name, inputs: source.inputs.map { $0.flatMap { map[$0] } },
                outputs: source.outputs.map { $0.flatMap { map[$0] } },
                attributes: retargeted(source.attributes, map, names: graph), at: position)
            graph[copy].docString = source.docString
            graph[copy].metadata = source.metadata
            position += 1
        }
        for (inner, output) in zip(body.outputs, node.outputs) {
            guard let output, let made = map[inner] else { continue }
            if graph[output].isOutput {
                graph.addNode("Identity", inputs: [made], outputs: [output], at: position)
                position += 1
            } else {
                graph.replaceUses(of: output, with: made)
            }
        }
    }

    /// The attributes with the captures of graphs in them pointing to the copies.
    static func retargeted(
        _ attributes: Attributes, _ map: [ValueID: ValueID], names graph: Graph
    ) -> Attributes {
        func retargeted(_ body: Graph) -> Graph {
            var result = body
            for value in body.values {
                guard case .capture(let outer) = body[value].origin, let target = map[outer] else { continue }
                let name = graph[target].name
                if let other = result.value(named: name), other != value {
                    result.rename(other, to: result.uniqueValueName("\(name)_inner"))
                }
                result.rename(value, to: name)
                result.makeCapture(value, of: target)
            }
            return result
        }
        return Attributes(
            attributes.all.map { attribute in
                var copy = attribute
                switch attribute.value {
                case .graph(let body): copy.value = .graph(retargeted(body))
                case .graphs(let bodies): copy.value = .graphs(bodies.map { retargeted($0) })
                default: break
                }
                return copy
            })
    }
}
