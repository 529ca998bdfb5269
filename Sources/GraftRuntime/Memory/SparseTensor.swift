import GraftCore
import GraftIR

extension StoredSparseTensor {
    /// The tensor with all its elements, zeros where nothing is stored.
    ///
    /// - Throws: ``KernelFailure`` where positions and shape do not fit, or the tensor is larger than memory.
    func dense() throws -> Tensor {
        let type = values.tensor.elementType
        let width = type.byteWidth
        guard Checked.isPossible(shape), let count = Checked.product(shape),
            let bytes = type.byteCount(elements: count), width > 0, bytes <= Arena.machineBytes,
            let positions = try indices.tensor.integers()
        else { throw KernelFailure("a sparse tensor of \(type.name) and shape \(shape)") }
        // Positions are numbers of elements, or one index for each axis.
        let isLinear = indices.tensor.shape.count != 2
        let bounds = isLinear ? [count] : shape
        let strides = isLinear ? [1] : RuntimeTensor.strides(shape, .rowMajor)
        let stored = values.tensor.count
        guard Checked.product([stored, bounds.count]) == positions.count else {
            throw KernelFailure("a sparse tensor with \(stored) elements and \(positions.count) positions")
        }
        let result = ByteBuffer(count: bytes, zeroed: true)
        try values.tensor.withBytes { source in
            for element in 0..<stored {
                var offset = 0
                for axis in bounds.indices {
                    let position = positions[element * bounds.count + axis]
                    guard position >= 0, position < bounds[axis] else {
                        throw KernelFailure("a sparse tensor of shape \(shape) with the position \(position)")
                    }
                    offset += position * strides[axis]
                }
                UnsafeMutableRawBufferPointer(rebasing: result.mutableBytes[(offset * width)..<((offset + 1) * width)])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: source[(element * width)..<((element + 1) * width)]))
            }
        }
        return try Tensor(type, shape: shape, storage: .owned(result))
    }
}

extension Value {
    /// The tensor that the file holds for the value, a sparse one with all its elements.
    func storedTensor() throws -> Tensor? { try tensor ?? sparseInitializer?.dense() }
}
