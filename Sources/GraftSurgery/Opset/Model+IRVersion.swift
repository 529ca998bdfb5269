import GraftIR

extension Model {
    /// Brings the version of the intermediate representation to the one that an opset came with.
    ///
    /// It is raised where it is older. Going down it is lowered as far as what the file says allows, because programs that
    /// stop at an opset also stop at its representation.
    ///
    /// Source: the table in ONNX's `helper.py`.
    mutating func followIRVersion(of opset: Int, from source: Int) {
        let needed = Self.irVersion(of: opset)
        if irVersion < needed {
            if irVersion < 4, needed >= 4 {
                // Before version 4 every stored tensor had to be an input; later that would make it a default.
                for id in graph.inputs where graph[id].isInitializer { graph.removeInput(id) }
            }
            irVersion = needed
        } else if opset < source {
            // Below version 4 every stored tensor has to be an input.
            irVersion = min(irVersion, max(needed, 4, leastIRVersion))
        }
    }

    private static func irVersion(of opset: Int) -> Int {
        switch opset {
        case ...8: 3
        case 9: 4
        case 10: 5
        case 11: 6
        case 12...14: 7
        case 15...18: 8
        case 19...20: 9
        case 21...22: 10
        case 23: 11
        case 24: 12
        case 25...27: 13
        default: 14
        }
    }

    /// The oldest representation that has words for all that the model says.
    private var leastIRVersion: Int {
        var result = functions.isEmpty ? 4 : 8
        if functions.contains(where: { !$0.name.overload.isEmpty || $0.body.needsMetadata }) || graph.needsMetadata {
            result = 10
        }
        let carries = carried != .nothing || graph.carriesMore || functions.contains { $0.body.carriesMore }
        return carries ? max(result, irVersion) : result
    }
}

extension Graph {
    /// Whether something but the model itself has named texts, which came with version 10.
    fileprivate var needsMetadata: Bool {
        !metadata.isEmpty
            || values.contains {
                !self[$0].metadata.isEmpty || self[$0].initializer.map { !$0.metadata.isEmpty } ?? false
            }
            || order.contains { id in !self[id].metadata.isEmpty || bodies(of: id).contains { $0.graph.needsMetadata } }
    }

    /// Whether the file says something about the graph or its nodes that the IR has no word for.
    fileprivate var carriesMore: Bool {
        !carried.fields.isEmpty
            || order.contains { id in
                !self[id].carried.fields.isEmpty || bodies(of: id).contains { $0.graph.carriesMore }
            }
    }
}
