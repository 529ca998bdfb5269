import GraftCore

/// Parts of tensors of numbers or texts along an axis.
enum SequenceParts {
    /// A tensor in row-major order.
    static func plain(_ value: RuntimeValue, _ context: KernelContext) throws -> RuntimeValue {
        if case .tensor(let tensor) = value { return .tensor(try context.reordered(tensor, .rowMajor)) }
        return value
    }

    // An axis of length 0 may hide lengths whose product is no number.
    private static func around(_ shape: [Int], _ axis: Int) throws -> (outer: Int, inner: Int) {
        guard let outer = Checked.product(shape[..<axis]), let inner = Checked.product(shape[(axis + 1)...]),
            Checked.product([outer, inner]) != nil
        else { throw KernelFailure("a tensor of shape \(shape)") }
        return (outer, inner)
    }

    /// A copy of the elements of an axis from `start`.
    static func part(
        _ value: RuntimeValue, axis: Int, start: Int, length: Int, _ context: KernelContext
    ) throws -> RuntimeValue {
        guard var shape = value.shape else { throw KernelFailure("not a tensor") }
        let (outer, inner) = try around(shape, axis)
        let whole = shape[axis]
        shape[axis] = length
        switch try plain(value, context) {
        case .tensor(let tensor):
            let width = tensor.elementType.byteWidth
            guard width > 0 else { throw KernelFailure("elements of type \(tensor.elementType.name)") }
            let result = try context.temporary(tensor.elementType, shape)
            for row in 0..<outer where length * inner > 0 {
                (result.pointer + row * length * inner * width).copyMemory(
                    from: tensor.pointer + (row * whole + start) * inner * width, byteCount: length * inner * width)
            }
            return .tensor(result)
        case .strings(let strings):
            var elements: [[UInt8]] = []
            for row in 0..<outer {
                let first = (row * whole + start) * inner
                elements += strings.elements[first..<(first + length * inner)]
            }
            return .strings(StringTensor(shape: shape, elements: elements))
        default: throw KernelFailure("not a tensor")
        }
    }

    /// Row-major tensors of one element type joined along an axis; the other axes agree.
    static func joined(_ parts: [RuntimeValue], axis: Int, _ context: KernelContext) throws -> RuntimeValue {
        guard let first = parts.first, var shape = first.shape else { throw KernelFailure("nothing to join") }
        let lengths = parts.map { $0.shape?[axis] ?? 0 }
        guard let total = lengths.reduce(Optional(0), { sum, next in sum.flatMap { Checked.sum($0, next) } }) else {
            throw KernelFailure("the lengths \(lengths)")
        }
        shape[axis] = total
        let (outer, inner) = try around(shape, axis)
        if case .strings = first {
            var elements: [[UInt8]] = []
            for row in 0..<outer {
                for (part, length) in zip(parts, lengths) {
                    guard case .strings(let strings) = part else { throw KernelFailure("elements of different types") }
                    elements += strings.elements[(row * length * inner)..<((row + 1) * length * inner)]
                }
            }
            return .strings(StringTensor(shape: shape, elements: elements))
        }
        guard let type = first.elementType, type.byteWidth > 0 else { throw KernelFailure("elements that are packed") }
        let result = try context.temporary(type, shape)
        let width = type.byteWidth
        var start = 0
        for (part, length) in zip(parts, lengths) {
            guard case .tensor(let tensor) = part else { throw KernelFailure("elements of different types") }
            for row in 0..<outer where length * inner > 0 {
                (result.pointer + (row * total + start) * inner * width).copyMemory(
                    from: tensor.pointer + row * length * inner * width, byteCount: length * inner * width)
            }
            start += length
        }
        return .tensor(result)
    }
}

extension RuntimeValue {
    /// The same elements under another shape with as many elements.
    func viewed(_ shape: [Int]) -> RuntimeValue {
        switch self {
        case .tensor(let tensor): .tensor(tensor.viewed(shape))
        case .strings(let strings): .strings(StringTensor(shape: shape, elements: strings.elements))
        default: self
        }
    }
}
