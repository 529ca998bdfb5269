import GraftCore
import GraftIR

/// What a kernel sees of one run: inputs, memory, and where its outputs go.
///
/// Everything that it hands out stays alive until the kernel returns.
package final class KernelContext {
    /// The memory of the run.
    package let arena: Arena
    private var inputs: [RuntimeValue?] = []
    private var outputs: [RuntimeValue?] = []
    private var versions: [Int] = []
    private var held: [Buffer] = []
    /// The node that runs and the profile that counts it; nil where nothing is profiled.
    var profiled: (profile: Profile, entry: Int)?

    package init(arena: Arena) { self.arena = arena }

    // MARK: The executor's side

    func begin(outputs count: Int) {
        for _ in 0..<count { outputs.append(nil) }
    }

    /// Adds an input; `version` is -1 for a value that is computed in the run.
    func append(_ value: consuming RuntimeValue?, version: Int) {
        inputs.append(value)
        versions.append(version)
    }

    func takeOutput(_ index: Int) -> RuntimeValue? {
        let value = outputs[index]
        outputs[index] = nil
        return value
    }

    func end() {
        inputs.removeAll(keepingCapacity: true)
        outputs.removeAll(keepingCapacity: true)
        versions.removeAll(keepingCapacity: true)
        held.removeAll(keepingCapacity: true)
    }

    /// Puts another tensor in the place of an input.
    func replaceInput(_ index: Int, _ tensor: RuntimeTensor) { inputs[index] = .tensor(tensor) }

    /// An output that was set.
    func output(at index: Int) -> RuntimeValue? { outputs.indices.contains(index) ? outputs[index] : nil }

    // MARK: Inputs

    /// The number of inputs, those left out included.
    package var inputCount: Int { inputs.count }
    /// The number of outputs.
    package var outputCount: Int { outputs.count }

    /// Whether an input is given.
    package func has(_ index: Int) -> Bool { inputs.indices.contains(index) && inputs[index] != nil }

    /// An input of any kind; a tensor never in blocks.
    package func value(_ index: Int) throws -> RuntimeValue {
        guard inputs.indices.contains(index), let value = inputs[index] else {
            throw KernelFailure("input \(index) is missing")
        }
        guard case .tensor(let tensor) = value, tensor.layout.isBlocked else { return value }
        let result = try reordered(tensor, .channelsLast)
        inputs[index] = .tensor(result)
        return .tensor(result)
    }

    /// An input in whatever memory order it has, blocks included; for kernels that know them.
    package func anyOrder(_ index: Int) throws -> RuntimeTensor {
        guard inputs.indices.contains(index), case .tensor(let tensor)? = inputs[index] else {
            throw KernelFailure("input \(index) is missing or not a tensor of numbers")
        }
        return tensor
    }

    /// Whether an input is a tensor in blocks, rounded or not.
    package func isBlocked(_ index: Int) -> Bool {
        if inputs.indices.contains(index), case .tensor(let tensor)? = inputs[index] {
            tensor.layout.isBlocked
        } else {
            false
        }
    }

    /// The narrower type that an input stands for, which the input then no longer says.
    func takeMeaning(of index: Int) throws -> ElementType? {
        guard inputs.indices.contains(index), case .tensor(var tensor)? = inputs[index],
            let meant = tensor.standsFor
        else { return nil }
        tensor.standsFor = nil
        inputs[index] = .tensor(tensor)
        return meant
    }

    /// The element type of an input, where it is a tensor.
    package func elementType(_ index: Int) -> ElementType? {
        inputs.indices.contains(index) ? inputs[index]?.elementType : nil
    }

    /// Moves an input of any kind out of the context, so that what is not shared may be changed in place.
    package func take(_ index: Int) throws -> RuntimeValue {
        let taken = try value(index)
        inputs[index] = nil
        return taken
    }

    /// An input in row-major order or with its channels last.
    package func input(_ index: Int) throws -> RuntimeTensor {
        guard case .tensor(let tensor) = try value(index) else {
            throw KernelFailure("input \(index) is not a tensor of numbers")
        }
        return tensor
    }

    /// An input in row-major order; reordered where it is not.
    package func plain(_ index: Int) throws -> RuntimeTensor {
        let tensor = try input(index)
        if tensor.layout == .rowMajor { return tensor }
        let result = try reordered(tensor, .rowMajor)
        inputs[index] = .tensor(result)
        return result
    }

    /// An input of rank 3 or more with its channels last; reordered where they are not.
    package func channelsLast(_ index: Int) throws -> RuntimeTensor {
        let tensor = try input(index)
        if tensor.layout == .channelsLast { return tensor }
        guard tensor.rank >= 3 else { throw KernelFailure("input \(index) has \(tensor.rank) axes; 3 are needed") }
        let result = try reordered(tensor, .channelsLast)
        inputs[index] = .tensor(result)
        return result
    }

    /// An input that must be of a type, row-major.
    package func plain(_ index: Int, _ type: ElementType) throws -> RuntimeTensor {
        let tensor = try plain(index)
        guard tensor.elementType == type else {
            throw KernelFailure("input \(index) must be \(type.name), not \(tensor.elementType.name)")
        }
        return tensor
    }

    /// The integers of an input, such as axes or a shape.
    package func integers(_ index: Int) throws -> [Int] {
        let tensor = try plain(index)
        switch tensor.elementType {
        case .int64: return (0..<tensor.count).map { Int(tensor.typed(Int64.self)[$0]) }
        case .int32: return (0..<tensor.count).map { Int(tensor.typed(Int32.self)[$0]) }
        default: throw KernelFailure("input \(index) must hold integers, not \(tensor.elementType.name)")
        }
    }

    /// The integers of an input, or nil where it is left out.
    package func optionalIntegers(_ index: Int) throws -> [Int]? { has(index) ? try integers(index) : nil }

    /// The numbers of an input of a floating-point type, such as scales.
    package func numbers(_ index: Int) throws -> [Float] {
        let tensor = try plain(index)
        switch tensor.elementType {
        case .float32: return Array(UnsafeBufferPointer(start: tensor.floats, count: tensor.count))
        case .float64: return (0..<tensor.count).map { Float(tensor.typed(Double.self)[$0]) }
        case .float16: return (0..<tensor.count).map { Float(tensor.typed(Float16.self)[$0]) }
        case .bfloat16:
            return (0..<tensor.count).map { Float(bitPattern: UInt32(tensor.typed(UInt16.self)[$0]) << 16) }
        default: throw KernelFailure("input \(index) must hold numbers, not \(tensor.elementType.name)")
        }
    }

    /// A number that changes with the content of an input that is not computed in the run; nil for a computed one.
    ///
    /// Kernels key packed copies by it.
    package func version(_ index: Int) -> Int? {
        versions.indices.contains(index) && versions[index] >= 0 ? versions[index] : nil
    }

    // MARK: Outputs and memory

    /// Makes an output with memory whose content is arbitrary.
    ///
    /// - Throws: ``KernelFailure`` where the shape is impossible, ``RuntimeError/outOfMemory(bytes:)``.
    @discardableResult
    package func output(
        _ index: Int, _ type: ElementType, _ shape: [Int], layout: Layout = .rowMajor
    ) throws -> RuntimeTensor {
        let tensor = try temporary(type, shape, layout: layout)
        set(index, tensor)
        return tensor
    }

    /// Makes an output in the memory of an input that nobody reads afterwards; where there is none, in fresh memory.
    ///
    /// The elements of the input stay readable until the kernel writes over them.
    ///
    /// Fetch the input after this call: a copy of its tensor that is still in use keeps the memory from being reused.
    package func output(
        _ index: Int, reusing input: Int, _ type: ElementType, _ shape: [Int], layout: Layout = .rowMajor
    ) throws -> RuntimeTensor {
        if let bytes = layout.byteCount(type, shape), let buffer = uniqueBuffer(of: input, bytes: bytes) {
            let tensor = RuntimeTensor(type, shape, layout: layout, buffer: buffer)
            set(index, tensor)
            return tensor
        }
        return try output(index, type, shape, layout: layout)
    }

    private func uniqueBuffer(of input: Int, bytes: Int) -> Buffer? {
        guard inputs.indices.contains(input), case .tensor(var tensor)? = inputs[input], tensor.offset == 0,
            tensor.buffer.isWritable, tensor.buffer.capacity >= bytes,
            tensor.buffer.capacity <= max(4096, bytes * 2), versions[input] < 0
        else { return nil }
        inputs[input] = nil
        let unique = isKnownUniquelyReferenced(&tensor.buffer)
        inputs[input] = .tensor(tensor)
        return unique ? tensor.buffer : nil
    }

    /// Sets an output to a tensor that exists: an input's view, or a temporary.
    package func set(_ index: Int, _ tensor: RuntimeTensor) { set(index, .tensor(tensor)) }

    /// Sets an output to any value.
    package func set(_ index: Int, _ value: RuntimeValue) {
        if case .tensor(let tensor) = value { held.append(tensor.buffer) }
        if outputs.indices.contains(index) { outputs[index] = value }
    }

    /// A tensor that lives until the kernel returns, unless it becomes an output.
    package func temporary(
        _ type: ElementType, _ shape: [Int], layout: Layout = .rowMajor
    ) throws -> RuntimeTensor {
        guard let bytes = layout.byteCount(type, shape), type != .string, Checked.isPossible(shape) else {
            throw KernelFailure("a result of shape \(shape) is not possible")
        }
        let buffer = try arena.allocate(bytes)
        held.append(buffer)
        return RuntimeTensor(type, shape, layout: layout, buffer: buffer)
    }

    /// A copy of a tensor in a memory order; the tensor itself where it has that order.
    package func reordered(_ tensor: RuntimeTensor, _ layout: Layout) throws -> RuntimeTensor {
        if tensor.layout == layout { return tensor }
        if tensor.layout.isBlocked || layout.isBlocked {
            guard tensor.elementType == .float32, tensor.rank == 4 else {
                throw KernelFailure("a tensor of \(tensor.rank) axes and \(tensor.elementType.name) has no blocks")
            }
            // What is rounded comes from blocks of 32 bits, and goes to them.
            if [tensor.layout, layout].contains(.roundedBlocks), ![tensor.layout, layout].contains(.blocked) {
                return try reordered(reordered(tensor, .blocked), layout)
            }
            let result = try temporary(.float32, tensor.shape, layout: layout)
            switch (tensor.layout, layout) {
            case (.roundedBlocks, _): widenBlocks(tensor, into: result)
            case (_, .roundedBlocks): roundBlocks(tensor, into: result)
            case (_, .blocked): fillBlocks(result, from: tensor)
            default: emptyBlocks(tensor, into: result)
            }
            return result
        }
        if tensor.isOrderFree { return tensor.viewed(tensor.shape, layout: layout) }
        let result = try temporary(tensor.elementType, tensor.shape, layout: layout)
        try reorder(tensor, into: result)
        return result
    }
}
