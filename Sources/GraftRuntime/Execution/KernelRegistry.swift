import GraftIR

/// All kernels.
package enum KernelRegistry {
    /// The newest opset of ONNX's own domain whose operators kernels know.
    package static let newestOpset = 28

    /// The families; a new file of kernels adds its line here.
    static var families: [any KernelFamily.Type] {
        [
            ActivationGradientKernels.self,
            ActivationKernels.self,
            ArithmeticKernels.self,
            BatchNormTrainingKernels.self,
            CastKernels.self,
            ComparisonKernels.self,
            ConvolutionGradientKernels.self,
            ConvolutionKernels.self,
            CrossEntropyKernels.self,
            DequantizeKernels.self,
            DropoutTrainingKernels.self,
            ElementwiseKernels.self,
            GatherGradientKernels.self,
            GatherKernels.self,
            IntegerConvolutionKernels.self,
            IntegerMatMulKernels.self,
            MatMulNBitsKernels.self,
            MatrixProductKernels.self,
            MiscellaneousKernels.self,
            MovementKernels.self,
            NormalizationGradientKernels.self,
            NormalizationKernels.self,
            OptimizerStepKernels.self,
            PaddingKernels.self,
            PoolingGradientKernels.self,
            PoolingKernels.self,
            QuantizeKernels.self,
            QuantizedElementwiseKernels.self,
            QuantizedReductionKernels.self,
            ReduceToKernels.self,
            ReductionKernels.self,
            ReshapingKernels.self,
            ResizingKernels.self,
            SoftmaxGradientKernels.self,
            SoftmaxKernels.self,
        ]
    }

    private static let table: [OperatorName: [KernelDefinition]] = {
        var result: [OperatorName: [KernelDefinition]] = [:]
        for family in families {
            for definition in family.definitions { result[definition.op, default: []].append(definition) }
        }
        return result
    }()

    /// The definition that runs an operator at an opset version.
    package static func definition(_ op: OperatorName, opset: Int) -> KernelDefinition? {
        table[op.canonical]?.first { $0.opsets.contains(opset) }
    }

    /// Why no definition runs an operator at an opset version.
    static func reason(_ op: OperatorName, opset: Int) -> String {
        guard let versions = table[op.canonical] else { return "no kernel for this operator" }
        let ranges = versions.map { "\($0.opsets.lowerBound) to \($0.opsets.upperBound)" }
        return "no kernel for opset \(opset); there are kernels for \(ranges.joined(separator: ", "))"
    }

    /// The operators that have kernels.
    package static var operators: [OperatorName] {
        table.keys.sorted { ($0.domain, $0.type) < ($1.domain, $1.type) }
    }
}
