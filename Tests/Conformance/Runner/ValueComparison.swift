import GraftCore
import GraftRuntime

/// Compares values as ONNX's backend runner does: types and shapes exactly, numbers within tolerances.
struct ValueComparison {
    let relativeTolerance: Double
    let absoluteTolerance: Double
    /// Whether only type and shape count, because the numbers are drawn at random.
    let onlyForm: Bool

    /// Whether a case draws numbers that no other implementation can draw alike.
    static func isRandom(caseName: String) -> Bool { caseName.hasPrefix("test_bernoulli") }

    /// How two values differ; nil where they agree.
    func difference(_ found: ModelValue, _ wanted: ModelValue) throws -> String? {
        switch (found, wanted) {
        case (.tensor(let found), .tensor(let wanted)): return try difference(found, wanted)
        case (.sequence(let found), .sequence(let wanted)):
            guard found.count == wanted.count else { return "\(found.count) elements, not \(wanted.count)" }
            for (a, b) in zip(found, wanted) { if let reason = try difference(a, b) { return reason } }
            return nil
        case (.optional(let found), .optional(let wanted)):
            guard let found, let wanted else {
                return (found == nil) == (wanted == nil) ? nil : "one value is absent, the other is not"
            }
            return try difference(found, wanted)
        case (.map(let keys, let values), .map(let wantedKeys, let wantedValues)):
            return try difference(keys, wantedKeys) ?? difference(values, wantedValues)
        default: return "\(found.kind), not \(wanted.kind)"
        }
    }

    private func difference(_ found: Tensor, _ wanted: Tensor) throws -> String? {
        guard found.elementType == wanted.elementType else {
            return "type \(found.elementType.name), not \(wanted.elementType.name)"
        }
        guard found.shape == wanted.shape else { return "shape \(found.shape), not \(wanted.shape)" }
        if onlyForm { return nil }
        if case .strings(let a) = found.storage, case .strings(let b) = wanted.storage {
            return a == b ? nil : "other texts"
        }
        if try found.withBytes({ a in try wanted.withBytes { b in a.elementsEqual(b) } }) { return nil }
        var slack = relativeTolerance
        let a: [Double]
        let b: [Double]
        switch found.elementType {
        case .float32, .float16:
            (a, b) = (try found.floats().map(Double.init), try wanted.floats().map(Double.init))
        case .bfloat16:
            // Two units in the last place.
            slack = max(slack, 1.0 / 64)
            (a, b) = (try found.floats().map(Double.init), try wanted.floats().map(Double.init))
        case .float64, .complex128: (a, b) = (try components(found), try components(wanted))
        case .complex64: (a, b) = (try singleComponents(found), try singleComponents(wanted))
        default:
            // Integers may differ by what the tolerance allows; narrower types only by nothing.
            guard let x = try found.integers(), let y = try wanted.integers() else { return "other bytes" }
            (a, b) = (x.map(Double.init), y.map(Double.init))
        }
        for index in a.indices where !agree(a[index], b[index], slack) {
            return "element \(index) is \(a[index]), not \(b[index])"
        }
        return nil
    }

    private func agree(_ a: Double, _ b: Double, _ relative: Double) -> Bool {
        if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
        return a == b || abs(a - b) <= absoluteTolerance + relative * abs(b)
    }

    private func components(_ tensor: Tensor) throws -> [Double] {
        try tensor.withBytes { bytes in
            (0..<bytes.count / 8).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
        }
    }

    private func singleComponents(_ tensor: Tensor) throws -> [Double] {
        try tensor.withBytes { bytes in
            (0..<bytes.count / 4).map { Double(bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self)) }
        }
    }
}
