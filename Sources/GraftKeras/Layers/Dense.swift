import GraftCore
import GraftIR

/// Dense: a matrix product over the last axis.
///
/// On features it is Gemm with the kernel as it is, `(in, out)`. After a Flatten of an image whose channels come first
/// in the IR the kernel's rows are permuted instead of the features. On images it is a 1x1 convolution.
enum DenseLayers: LayerFamily {
    static let classNames = ["Dense"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        let input = try single(layer, inputs)
        guard input.rank >= 2, let features = input.shape[input.rank - 1] else {
            throw layer.unsupported("the number of its input features is not known")
        }
        let units = try layer.int("units")
        let hasBias = layer.bool("use_bias", default: true)
        let shape = input.shape.dropLast() + [units]
        let kernelShape = [features, units]
        func bias() throws -> ValueID { try builder.weight("bias", .identity([units])) }

        let value: ValueID
        var layout = TensorLayout.plain
        switch input.layout {
        case .channelsFirst:
            let kernel = WeightLayout(
                view: kernelShape, permutation: [1, 0], shape: [units, features, 1, 1], kerasShape: kernelShape)
            var operands: [ValueID?] = [input.value, try builder.weight("kernel", kernel)]
            if hasBias { operands.append(try bias()) }
            layout = .channelsFirst
            value = builder.emit(
                "Conv", operands, ["kernel_shape": .ints([1, 1])],
                shape: ImportedTensor(value: input.value, shape: Array(shape), layout: .channelsFirst).storedShape)
        case .flattened(let height, let width, let channels):
            let kernel = WeightLayout(
                view: [height, width, channels, units], permutation: [2, 0, 1, 3], shape: kernelShape,
                kerasShape: kernelShape)
            var operands: [ValueID?] = [input.value, try builder.weight("kernel", kernel)]
            if hasBias { operands.append(try bias()) }
            value = builder.emit("Gemm", operands, shape: Array(shape))
        case .plain:
            let kernel = try builder.weight("kernel", .identity(kernelShape))
            if input.rank == 2 {
                value = builder.emit(
                    "Gemm", [input.value, kernel] + (hasBias ? [try bias()] : []), shape: Array(shape))
            } else {
                let product = builder.emit("MatMul", [input.value, kernel], shape: Array(shape))
                value = hasBias ? builder.emit("Add", [product, try bias()], shape: Array(shape)) : product
            }
        }
        let result = ImportedTensor(value: value, shape: Array(shape), layout: layout)
        return [try Activation.apply(layer, to: result, &builder)]
    }
}
