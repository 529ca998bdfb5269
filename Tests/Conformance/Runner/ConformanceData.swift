import GraftCore
import GraftIR
import GraftONNX
import GraftRuntime
import OrderedCollections

/// A set of inputs and expected outputs: the initializers of a model without nodes, and a description of how they
/// form values.
struct ConformanceData {
    struct Failure: Error, CustomStringConvertible { let description: String }

    let inputs: [String: ModelValue]
    let outputs: [String: ModelValue]

    init(path: String) throws {
        let model = try ONNX.read(path: path)
        var tensors: [String: Tensor] = [:]
        for id in model.graph.values { tensors[model.graph[id].name] = model.graph[id].tensor }
        let layout = try JSON(parsing: model.metadata["layout"] ?? "")
        inputs = try Self.values(layout["inputs"], tensors)
        outputs = try Self.values(layout["outputs"], tensors)
    }

    private static func values(_ json: JSON?, _ tensors: [String: Tensor]) throws -> [String: ModelValue] {
        var result: [String: ModelValue] = [:]
        for (name, description) in json?.object ?? [:] { result[name] = try value(description, tensors) }
        return result
    }

    private static func value(_ json: JSON, _ tensors: [String: Tensor]) throws -> ModelValue {
        if let name = json["tensor"]?.string, let tensor = tensors[name] { return .tensor(tensor) }
        if let elements = json["sequence"]?.array { return .sequence(try elements.map { try value($0, tensors) }) }
        if let element = json["optional"] {
            return .optional(element.isNull ? nil : try value(element, tensors))
        }
        if let parts = json["map"]?.array, parts.count == 2, let keys = try value(parts[0], tensors).tensor {
            return .map(keys: keys, values: try value(parts[1], tensors))
        }
        throw Failure(description: "no value: \(json)")
    }
}
