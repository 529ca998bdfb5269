import GraftCore

/// What a model takes or gives: a tensor, or one of ONNX's other kinds of value.
public indirect enum ModelValue: Sendable {
    /// A tensor of any element type, texts included.
    case tensor(Tensor)
    /// A sequence of values.
    case sequence([ModelValue])
    /// A value that may be absent.
    case optional(ModelValue?)
    /// A map: a tensor of keys with one axis, and as many values: a tensor with one axis, or a sequence.
    case map(keys: Tensor, values: ModelValue)

    /// The tensor, where the value is one.
    public var tensor: Tensor? {
        if case .tensor(let tensor) = self { tensor } else { nil }
    }

    /// What kind of value it is, for messages.
    public var kind: String {
        switch self {
        case .tensor: "a tensor"
        case .sequence: "a sequence"
        case .optional: "an optional value"
        case .map: "a map"
        }
    }
}

extension RuntimeValue {
    /// A value that reads what the caller gives where it is.
    init(_ value: ModelValue) throws {
        switch value {
        case .tensor(let tensor): self = try RuntimeValue(tensor).alignedForKernels()
        case .sequence(let elements): self = .sequence(try elements.map { try RuntimeValue($0) })
        case .optional(let element): self = .optional(try element.map { try RuntimeValue($0) })
        case .map(let keys, let values):
            self = .map(keys: try RuntimeValue(keys).alignedForKernels(), values: try RuntimeValue(values))
        }
    }

    // Kernels load elements as their own type, which needs an aligned address; a file's tensors may lie anywhere.
    private func alignedForKernels() throws -> RuntimeValue {
        guard case .tensor(let tensor) = self, !tensor.isAligned else { return self }
        let owned = ByteBuffer(copying: UnsafeRawBufferPointer(start: tensor.pointer, count: tensor.byteCount))
        return .tensor(
            RuntimeTensor(tensor.elementType, tensor.shape, buffer: Buffer(borrowing: owned.bytes, keeper: owned)))
    }

    /// A copy that the caller owns.
    func modelValue(_ context: KernelContext) throws -> ModelValue {
        switch self {
        case .tensor(let tensor): .tensor(try Tensor(result: context.reordered(tensor, .rowMajor)))
        case .strings(let strings):
            .tensor(try Tensor(.string, shape: strings.shape, storage: .strings(strings.elements)))
        case .sequence(let elements): .sequence(try elements.map { try $0.modelValue(context) })
        case .optional(let element): .optional(try element.map { try $0.modelValue(context) })
        case .map(let keys, let values):
            try Self.modelMap(keys.modelValue(context), values.modelValue(context))
        }
    }

    private static func modelMap(_ keys: ModelValue, _ values: ModelValue) throws -> ModelValue {
        guard case .tensor(let keys) = keys else { throw RuntimeError.invalidGraph("the keys of a map are no tensor") }
        return .map(keys: keys, values: values)
    }
}
