import GraftCore
import GraftIR

extension Differentiation {
    /// The scores that a model normalises at its end.
    public struct Logits: Sendable, Equatable {
        /// The value before the normalisation; the output itself where there is none.
        public let value: ValueID
        /// The operator that was passed: `Softmax`, `LogSoftmax` or `Sigmoid`; nil where there is none.
        public let normalisation: String?
    }

    /// The scores behind an output: the value before a Softmax, LogSoftmax or Sigmoid at the end of a model, looking
    /// through Identity, Reshape, Flatten and Squeeze nodes that come after it.
    ///
    /// A loss such as softmax cross-entropy wants these, not the probabilities. A reshaping after the normalisation is
    /// not repeated: the scores have the shape that the normalisation sees.
    public static func logits(of output: ValueID, in graph: Graph) -> Logits {
        var value = output
        while let producer = graph[value].producer {
            let node = graph[producer]
            guard node.op.canonicalDomain.isEmpty, let input = node.inputs.first ?? nil else { break }
            switch node.op.type {
            case "Softmax", "LogSoftmax", "Sigmoid": return Logits(value: input, normalisation: node.op.type)
            case "Identity", "Reshape", "Flatten", "Squeeze": value = input
            default: return Logits(value: output, normalisation: nil)
            }
        }
        return Logits(value: output, normalisation: nil)
    }
}
