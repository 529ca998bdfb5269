import GraftCore
import GraftIR

/// What a loop gives out round by round, joined along a new first axis.
struct ScanAccumulator {
    private let arena: Arena
    private var type: ElementType?
    private var shape: [Int] = []
    private var count = 0
    private var buffer: Buffer?
    private var texts: [[UInt8]] = []

    /// The most texts that a result may have: they are not counted by the arena.
    private static let textLimit = 1 << 26

    init(_ arena: Arena) { self.arena = arena }

    /// Says what a round would give, for the case that there is none.
    ///
    /// - Throws: ``KernelFailure`` where the element type is not known.
    mutating func expect(_ expected: ValueType?) throws {
        guard let element = expected?.elementType else {
            throw KernelFailure("there is no round, and the file does not say what type a round gives")
        }
        type = element
        shape = expected?.shape?.dimensions.map { $0.count ?? 0 } ?? []
    }

    /// Adds what a round gives.
    ///
    /// - Parameter expected: how many rounds there probably are.
    /// - Throws: ``RuntimeError/outOfMemory(bytes:)`` where so many would not fit into memory, ``KernelFailure`` where
    ///   rounds do not fit each other.
    mutating func append(_ value: RuntimeValue, of expected: Int) throws {
        guard let element = value.elementType, let elementShape = value.shape else {
            throw KernelFailure("a value that is scanned must be a tensor")
        }
        if count == 0 { (type, shape) = (element, elementShape) }
        guard type == element, shape == elementShape else {
            throw KernelFailure(
                "round \(count) gives \(element.name) \(elementShape), the rounds before \(type?.name ?? "") \(shape)")
        }
        switch value {
        case .strings(let strings):
            guard texts.count + strings.elements.count <= Self.textLimit else {
                throw KernelFailure("the rounds give more than \(Self.textLimit) texts")
            }
            texts += strings.elements
        case .tensor(let tensor):
            let width = element.byteWidth
            guard width > 0 else { throw KernelFailure("elements of type \(element.name) cannot be joined") }
            let plain = try rowMajor(tensor)
            let bytes = plain.byteCount
            try reserve(bytes, rounds: expected)
            if bytes > 0, let buffer {
                (buffer.pointer + count * bytes).copyMemory(from: plain.pointer, byteCount: bytes)
            }
        default: throw KernelFailure("a value that is scanned must be a tensor")
        }
        count += 1
    }

    // In memory of its own, which is given back before the next round.
    private func rowMajor(_ tensor: RuntimeTensor) throws -> RuntimeTensor {
        if tensor.isRowMajor { return tensor }
        guard let bytes = Layout.rowMajor.byteCount(tensor.elementType, tensor.shape) else {
            throw RuntimeError.outOfMemory(bytes: .max)
        }
        let result = RuntimeTensor(tensor.elementType, tensor.shape, buffer: try arena.allocate(bytes))
        if tensor.layout == .blocked {
            emptyBlocks(tensor, into: result)
        } else {
            try reorder(tensor, into: result)
        }
        return result
    }

    private mutating func reserve(_ bytes: Int, rounds expected: Int) throws {
        guard let needed = Checked.product([count + 1, bytes]) else { throw RuntimeError.outOfMemory(bytes: .max) }
        if let buffer, buffer.capacity >= needed { return }
        let wanted = count == 0 ? max(1, expected) : max(expected, count * 2)
        guard let all = Checked.product([wanted, bytes]) else { throw RuntimeError.outOfMemory(bytes: .max) }
        let fresh = try arena.allocate(all)
        if let buffer { fresh.pointer.copyMemory(from: buffer.pointer, byteCount: count * bytes) }
        buffer = fresh
    }

    /// All rounds.
    func result() throws -> RuntimeValue {
        guard let type else { throw KernelFailure("nothing was scanned") }
        if type == .string { return .strings(StringTensor(shape: [count] + shape, elements: texts)) }
        return .tensor(RuntimeTensor(type, [count] + shape, buffer: try buffer ?? arena.allocate(0)))
    }
}
