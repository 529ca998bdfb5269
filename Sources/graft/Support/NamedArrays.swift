import GraftCore
import GraftIR
import GraftRuntime
import OrderedCollections

/// Values of a model as the named arrays of an NPZ file.
///
/// A tensor is the array of its name. The elements of a sequence are `name.0`, `name.1`, ...; a value that is absent has
/// no array; a map is `name.keys` and `name.values`.
enum NamedArrays {
    /// The values that a plan takes, put together from arrays.
    ///
    /// - Throws: ``RuntimeError/unknownInput(name:known:)`` for an array that belongs to no input.
    static func values(
        for ports: [Plan.Port], from arrays: OrderedDictionary<String, Tensor>
    ) throws -> [String: ModelValue] {
        var unused = Set(arrays.keys)
        var result: [String: ModelValue] = [:]
        for port in ports { result[port.name] = value(port.name, port.type?.kind, arrays, &unused) }
        if let name = arrays.keys.first(where: { unused.contains($0) }) {
            throw RuntimeError.unknownInput(name: name, known: ports.map(\.name))
        }
        return result
    }

    private static func value(
        _ name: String, _ kind: ValueType.Kind?, _ arrays: OrderedDictionary<String, Tensor>,
        _ unused: inout Set<String>
    ) -> ModelValue? {
        switch kind {
        case .sequence(let element)?:
            var elements: [ModelValue] = []
            while let next = value("\(name).\(elements.count)", element?.kind, arrays, &unused), !next.isEmpty {
                elements.append(next)
            }
            return .sequence(elements)
        case .optional(let element)?:
            guard let inner = value(name, element?.kind, arrays, &unused), !inner.isEmpty else { return .optional(nil) }
            return .optional(inner)
        case .map?:
            guard let keys = arrays["\(name).keys"], let values = value("\(name).values", nil, arrays, &unused) else {
                return nil
            }
            unused.remove("\(name).keys")
            return .map(keys: keys, values: values)
        default:
            guard let tensor = arrays[name] else { return nil }
            unused.remove(name)
            return .tensor(tensor)
        }
    }

    /// The arrays of a value.
    static func arrays(_ name: String, _ value: ModelValue) -> OrderedDictionary<String, Tensor> {
        switch value {
        case .tensor(let tensor): return [name: tensor]
        case .sequence(let elements):
            var result: OrderedDictionary<String, Tensor> = [:]
            for (index, element) in elements.enumerated() {
                result.merge(arrays("\(name).\(index)", element)) { _, new in new }
            }
            return result
        case .optional(let element): return element.map { arrays(name, $0) } ?? [:]
        case .map(let keys, let values):
            var result: OrderedDictionary<String, Tensor> = ["\(name).keys": keys]
            result.merge(arrays("\(name).values", values)) { _, new in new }
            return result
        }
    }
}

extension ModelValue {
    /// Whether arrays cannot tell the value from one that is not there.
    fileprivate var isEmpty: Bool {
        switch self {
        case .tensor, .map: false
        case .sequence(let elements): elements.isEmpty
        case .optional(let element): element?.isEmpty ?? true
        }
    }
}
