/// All operators that the IR knows.
public enum OperatorRegistry {
    /// The families; a new file of operators adds its line here.
    static var families: [any OperatorFamily.Type] {
        [
            Accumulation.self,
            Activations.self,
            Attention.self,
            Casting.self,
            ClassicalFeatures.self,
            ClassicalModels.self,
            Concatenation.self,
            Constants.self,
            ControlFlow.self,
            Contributed.self,
            Convolution.self,
            Einsum.self,
            ElementwiseBinary.self,
            ElementwiseUnary.self,
            Expansion.self,
            Gathering.self,
            Layout.self,
            Logic.self,
            Losses.self,
            MatrixProduct.self,
            Normalization.self,
            Optimizers.self,
            Pooling.self,
            PreviewOptimizers.self,
            Quantization.self,
            QuantizationContributed.self,
            Randomness.self,
            Recurrent.self,
            Reduction.self,
            Resizing.self,
            Sequences.self,
            ShapeChange.self,
            Signal.self,
            Slicing.self,
            Softmax.self,
            Text.self,
        ]
    }

    private static let schemas: [OperatorName: OperatorSchema] = {
        var result: [OperatorName: OperatorSchema] = [:]
        for family in families {
            for schema in family.schemas {
                precondition(result[schema.name] == nil, "\(schema.name) is declared twice")
                result[schema.name] = schema
            }
        }
        return result
    }()

    /// What is known about an operator; nil for one that the IR does not know.
    public static func schema(for op: OperatorName) -> OperatorSchema? {
        schemas[OperatorName(op.type, domain: op.canonicalDomain)]
    }

    /// The names of all known operators, sorted.
    public static var names: [OperatorName] { schemas.keys.sorted { ($0.domain, $0.type) < ($1.domain, $1.type) } }
}
