import GraftCore

/// What a slot of a run holds.
package enum RuntimeValue {
    /// Numbers.
    case tensor(RuntimeTensor)
    /// A tensor of texts, each a sequence of bytes.
    case strings(StringTensor)
    /// A sequence of values.
    indirect case sequence([RuntimeValue])
    /// A value that may be absent.
    indirect case optional(RuntimeValue?)
    /// A map: keys as a tensor with one axis, and as many values, a tensor with one axis or a sequence.
    indirect case map(keys: RuntimeValue, values: RuntimeValue)

    /// The element type of a tensor.
    package var elementType: ElementType? {
        switch self {
        case .tensor(let tensor): tensor.elementType
        case .strings: .string
        case .sequence, .optional, .map: nil
        }
    }

    /// The shape of a tensor.
    package var shape: [Int]? {
        switch self {
        case .tensor(let tensor): tensor.shape
        case .strings(let tensor): tensor.shape
        case .sequence, .optional, .map: nil
        }
    }
}

/// A tensor of texts.
package struct StringTensor {
    package var shape: [Int]
    package var elements: [[UInt8]]

    package init(shape: [Int], elements: [[UInt8]]) {
        self.shape = shape
        self.elements = elements
    }
}

extension RuntimeValue {
    /// A value that reads a stored tensor where its bytes are; deferred bytes are produced.
    init(_ tensor: Tensor) throws {
        guard Checked.isPossible(tensor.shape) else { throw TensorError.invalidShape(tensor.shape) }
        switch tensor.storage {
        case .strings(let elements): self = .strings(StringTensor(shape: tensor.shape, elements: elements))
        case .mapped(let file, let range):
            let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range])
            self = .tensor(
                RuntimeTensor(
                    tensor.elementType, tensor.shape, buffer: Buffer(borrowing: bytes, keeper: file)))
        case .owned(let buffer):
            self = .tensor(
                RuntimeTensor(
                    tensor.elementType, tensor.shape, buffer: Buffer(borrowing: buffer.bytes, keeper: buffer)))
        case .deferred(let deferred):
            let buffer = try deferred.load()
            self = .tensor(
                RuntimeTensor(
                    tensor.elementType, tensor.shape, buffer: Buffer(borrowing: buffer.bytes, keeper: buffer)))
        }
    }
}
