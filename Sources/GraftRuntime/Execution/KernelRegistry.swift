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
            AttentionKernels.self,
            BatchNormTrainingKernels.self,
            BitwiseKernels.self,
            CastKernels.self,
            CategoryEncodingKernels.self,
            CausalConvolutionKernels.self,
            ComparisonKernels.self,
            ContributedActivationKernels.self,
            ContributedAttentionKernels.self,
            ContributedNormalizationKernels.self,
            ContributedProductKernels.self,
            ControlFlowKernels.self,
            ConvolutionGradientKernels.self,
            ConvolutionKernels.self,
            CrossEntropyKernels.self,
            CumulativeKernels.self,
            DeformableConvolutionKernels.self,
            DequantizeKernels.self,
            DeterminantKernels.self,
            DropoutKernels.self,
            DropoutTrainingKernels.self,
            EinsumKernels.self,
            ElementwiseKernels.self,
            ExpandedDepthwiseKernels.self,
            FeatureScalingKernels.self,
            FlexAttentionKernels.self,
            FloatClassKernels.self,
            FourierKernels.self,
            FusedAttentionKernels.self,
            GatedActivationKernels.self,
            GatherElementsKernels.self,
            GatherGradientKernels.self,
            GatherKernels.self,
            GridSamplingKernels.self,
            GroupQueryAttentionKernels.self,
            IntegerConvolutionKernels.self,
            IntegerMatMulKernels.self,
            LabelLossKernels.self,
            ImageDecodingKernels.self,
            LinearAttentionKernels.self,
            LinearModelKernels.self,
            LocalResponseKernels.self,
            MapKernels.self,
            MatMulNBitsKernels.self,
            MatrixProductKernels.self,
            ModuloKernels.self,
            MovementKernels.self,
            NGramKernels.self,
            NonMaxSuppressionKernels.self,
            NormalizationGradientKernels.self,
            NormalizationKernels.self,
            OptimizerStepKernels.self,
            OptionalKernels.self,
            PaddingKernels.self,
            PoolingGradientKernels.self,
            PoolingKernels.self,
            PowerKernels.self,
            PreviewTrainingKernels.self,
            QuantizeKernels.self,
            QuantizedElementwiseKernels.self,
            QuantizedReductionKernels.self,
            RandomGeneratorKernels.self,
            RangeKernels.self,
            RearrangementKernels.self,
            RecurrentKernels.self,
            ReduceToKernels.self,
            ReductionKernels.self,
            RegionPoolingKernels.self,
            ReshapingKernels.self,
            ResizingKernels.self,
            RotaryEmbeddingKernels.self,
            RowNormalizationKernels.self,
            ScatterKernels.self,
            SelectionKernels.self,
            SequenceKernels.self,
            SignalWindowKernels.self,
            SoftmaxGradientKernels.self,
            SoftmaxKernels.self,
            SupportVectorKernels.self,
            TensorScatterKernels.self,
            TextKernels.self,
            TopKKernels.self,
            TreeEnsembleKernels.self,
            TriangleKernels.self,
            UniqueKernels.self,
            UnpoolingKernels.self,
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
