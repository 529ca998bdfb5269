import GraftCore

/// How a Keras weight becomes a stored tensor of the IR: seen with a shape, its axes permuted, and given another shape.
struct WeightLayout: Sendable, Hashable {
    /// The shape in which the Keras weight is seen; it may split axes.
    let view: [Int]
    /// Axis `i` of the permuted weight is axis `permutation[i]` of the view.
    let permutation: [Int]
    /// The shape in the IR.
    let shape: [Int]
    /// The shape in Keras.
    let kerasShape: [Int]

    /// The same in both.
    static func identity(_ shape: [Int]) -> WeightLayout {
        WeightLayout(view: shape, permutation: Array(shape.indices), shape: shape, kerasShape: shape)
    }

    /// The same bytes under another shape.
    static func reshaped(_ kerasShape: [Int], to shape: [Int]) -> WeightLayout {
        WeightLayout(view: kerasShape, permutation: Array(kerasShape.indices), shape: shape, kerasShape: kerasShape)
    }

    /// Whether bytes stay in their order.
    var keepsOrder: Bool {
        // Axes of extent 1 may move freely.
        let moving = permutation.filter { view[$0] != 1 }
        return moving == moving.sorted()
    }

    /// The tensor of the IR; its bytes are permuted when they are asked for.
    func apply(_ weight: Tensor) throws(TensorError) -> Tensor {
        try Self.permuted(weight, view: view, permutation: permutation, shape: shape, keepsOrder: keepsOrder)
    }

    /// The Keras weight of a tensor of the IR.
    func invert(_ tensor: Tensor) throws(TensorError) -> Tensor {
        // A weight that was read and not changed is given back from where it lies.
        if case .deferred(let bytes) = tensor.storage, let permuted = bytes as? PermutedBytes,
            permuted.view == view, permuted.permutation == permutation
        {
            return try permuted.source.reshaped(kerasShape)
        }
        var inverse = permutation
        for (position, axis) in permutation.enumerated() { inverse[axis] = position }
        return try Self.permuted(
            tensor, view: permutation.map { view[$0] }, permutation: inverse, shape: kerasShape, keepsOrder: keepsOrder)
    }

    private static func permuted(
        _ tensor: Tensor, view: [Int], permutation: [Int], shape: [Int], keepsOrder: Bool
    ) throws(TensorError) -> Tensor {
        if keepsOrder { return try tensor.reshaped(shape) }
        let source = try tensor.reshaped(view)
        return try Tensor(
            tensor.elementType, shape: shape,
            storage: .deferred(PermutedBytes(source: source, view: view, permutation: permutation)))
    }
}

/// The bytes of a tensor with its axes permuted.
struct PermutedBytes: DeferredBytes {
    let source: Tensor
    let view: [Int]
    let permutation: [Int]

    var byteCount: Int { source.byteCount }

    func load() throws -> ByteBuffer {
        let width = source.elementType.byteWidth
        guard width > 0 else { throw TensorError.typeMismatch(expected: .float32, actual: source.elementType) }
        let target = ByteBuffer(count: byteCount)
        var strides = [Int](repeating: 1, count: view.count)
        for axis in view.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * view[axis + 1] }
        let extents = permutation.map { view[$0] }
        let steps = permutation.map { strides[$0] }
        try source.withBytes { bytes in
            switch width {
            case 4: Self.copy(bytes, to: target, extents: extents, steps: steps, as: UInt32.self)
            case 2: Self.copy(bytes, to: target, extents: extents, steps: steps, as: UInt16.self)
            case 8: Self.copy(bytes, to: target, extents: extents, steps: steps, as: UInt64.self)
            default: Self.copy(bytes, to: target, extents: extents, steps: steps, width: width)
            }
        }
        return target
    }

    // Invariant of both: `extents` and `steps` describe a permutation of exactly the elements of `source`, so every
    // read lies inside it and the writes fill `target`.
    private static func copy<Element: BitwiseCopyable>(
        _ source: UnsafeRawBufferPointer, to target: ByteBuffer, extents: [Int], steps: [Int], as type: Element.Type
    ) {
        guard target.count > 0 else { return }
        let inner = extents.last ?? 1
        let step = steps.last ?? 1
        let out = target.mutableBytes.bindMemory(to: Element.self)
        var position = 0
        forEachRow(extents, steps) { start in
            for index in 0..<inner {
                out[position] = source.loadUnaligned(
                    fromByteOffset: (start + index * step) * MemoryLayout<Element>.size, as: Element.self)
                position += 1
            }
        }
    }

    private static func copy(
        _ source: UnsafeRawBufferPointer, to target: ByteBuffer, extents: [Int], steps: [Int], width: Int
    ) {
        guard target.count > 0 else { return }
        let out = target.mutableBytes
        var position = 0
        forEachRow(extents, steps) { start in
            for index in 0..<(extents.last ?? 1) {
                let from = (start + index * (steps.last ?? 1)) * width
                for byte in 0..<width { out[position + byte] = source[from + byte] }
                position += width
            }
        }
    }

    /// Calls `body` with the offset of the first element of each innermost row.
    private static func forEachRow(_ extents: [Int], _ steps: [Int], _ body: (Int) -> Void) {
        let outer = extents.count - 1
        var indices = [Int](repeating: 0, count: max(outer, 0))
        var start = 0
        while true {
            body(start)
            var axis = outer - 1
            while axis >= 0 {
                indices[axis] += 1
                start += steps[axis]
                if indices[axis] < extents[axis] { break }
                start -= steps[axis] * extents[axis]
                indices[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }
}
