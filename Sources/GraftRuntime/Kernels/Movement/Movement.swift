import GraftCore
import GraftIR

/// Operators that move elements and never change them: Transpose, Concat, Split, Slice, Expand, Tile, DepthToSpace,
/// SpaceToDepth.
enum MovementKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "Transpose", prepare: { $0.attributes.ints("perm") }, run: { try transpose($1, permutation: $0) }),
            .function(
                "Concat", prepare: { $0.attributes.int("axis") ?? ($0.opset < 4 ? 1 : 0) },
                run: { try concat($1, axis: $0) }),
            .function(
                "Split", prepare: { SplitSettings($0) }, run: { try split($1, $0) }),
            .function(
                "Slice", opsets: 1...9,
                prepare: { node in
                    guard let starts = node.attributes.ints("starts"), let ends = node.attributes.ints("ends") else {
                        throw KernelFailure("starts or ends is missing")
                    }
                    return SliceSettings(starts: starts, ends: ends, axes: node.attributes.ints("axes"), steps: nil)
                }, run: { try slice($1, $0) }),
            .function("Slice", opsets: 10...KernelRegistry.newestOpset) { context in
                try slice(
                    context,
                    SliceSettings(
                        starts: try context.integers(1), ends: try context.integers(2),
                        axes: try context.optionalIntegers(3), steps: try context.optionalIntegers(4)))
            },
            .function("SliceGrad", domain: graftDomain, run: sliceGradient),
            .function("Expand") { context in
                let x = try context.plain(0)
                let shape = try Broadcast.shape([x.shape, try context.integers(1)])
                try expand(context, x, shape)
            },
            .function("ExpandLike", domain: graftDomain) { context in
                try expand(context, try context.plain(0), try context.input(1).shape)
            },
            .function("Tile", opsets: 6...KernelRegistry.newestOpset) { try tile($0, try $0.integers(1)) },
            .function(
                "DepthToSpace", prepare: { ($0.attributes.int("blocksize") ?? 0, $0.attributes.string("mode")) },
                run: { try depthToSpace($1, block: $0.0, mode: $0.1 ?? "DCR") }),
            .function(
                "SpaceToDepth", prepare: { ($0.attributes.int("blocksize") ?? 0, $0.attributes.string("mode")) },
                run: { try spaceToDepth($1, block: $0.0, mode: $0.1 ?? "DCR") }),
        ]
    }

    // MARK: Transpose

    static func transpose(_ context: KernelContext, permutation: [Int]?) throws {
        let x = try context.input(0)
        let rank = x.rank
        let axes = permutation ?? Array((0..<rank).reversed())
        guard axes.sorted() == Array(0..<rank) else { throw KernelFailure("perm \(axes) is no permutation") }
        let shape = axes.map { x.shape[$0] }
        // The axes of the result, named by the axes of the input, in the order in which the input lies in memory: the
        // bytes may already be right.
        let order = x.memoryOrder
        func isSame(_ wanted: [Int]) -> Bool {
            wanted.filter { x.shape[$0] != 1 } == order.filter { x.shape[$0] != 1 }
        }
        if isSame(axes) {
            context.set(0, x.viewed(shape))
            return
        }
        if rank >= 3, isSame([axes[0]] + axes[2...] + [axes[1]]) {
            context.set(0, x.viewed(shape, layout: .channelsLast))
            return
        }
        let result = try context.output(0, x.elementType, shape)
        let own = x.strides
        try copyStrided(
            width: x.elementType.byteWidth, shape: shape, from: x.pointer, StridedView(strides: axes.map { own[$0] }),
            to: result.pointer, StridedView(strides: result.strides))
    }

    // MARK: Concat and Split

    static func concat(_ context: KernelContext, axis givenAxis: Int) throws {
        var tensors = try (0..<context.inputCount).map { try context.input($0) }
        guard let first = tensors.first else { throw KernelFailure("there are no inputs") }
        let axis = try normalizedAxis(givenAxis, rank: first.rank)
        let lastWins = first.rank >= 3 && tensors.contains { !$0.isRowMajor }
        let layout: Layout = lastWins ? .channelsLast : .rowMajor
        var shape = first.shape
        shape[axis] = 0
        for index in tensors.indices {
            let tensor = tensors[index]
            var other = tensor.shape
            guard tensor.rank == first.rank, tensor.elementType == first.elementType else {
                throw KernelFailure("the inputs differ in rank or type")
            }
            guard let length = Checked.sum(shape[axis], other[axis]) else {
                throw KernelFailure("the inputs are too long together")
            }
            shape[axis] = length
            other[axis] = length
            guard other == shape else { throw KernelFailure("the inputs differ outside the axis \(axis)") }
            tensors[index] = try context.reordered(tensor, layout)
        }
        let result = try context.output(0, first.elementType, shape, layout: layout)
        let width = first.elementType.byteWidth
        let (outer, length, inner) = result.around(axis)
        var start = 0
        for tensor in tensors where tensor.count > 0 {
            let block = tensor.shape[axis] * inner
            try copyStrided(
                width: width, shape: [outer, block], from: tensor.pointer, StridedView(strides: [block, 1]),
                to: result.pointer, StridedView(offset: start * inner, strides: [length * inner, 1]),
                of: result.byteCount)
            start += tensor.shape[axis]
        }
    }

    struct SplitSettings: Sendable {
        let axis: Int
        let sizes: [Int]?
        let outputs: Int

        init(_ node: KernelNode) {
            axis = node.attributes.int("axis") ?? 0
            sizes = node.attributes.ints("split")
            outputs = node.outputCount
        }
    }

    static func split(_ context: KernelContext, _ settings: SplitSettings) throws {
        let x = try context.input(0)
        let axis = try normalizedAxis(settings.axis, rank: x.rank)
        let total = x.shape[axis]
        var sizes = settings.sizes ?? []
        if context.has(1) { sizes = try context.integers(1) }
        if sizes.isEmpty {
            // Equal parts; the last is smaller where they do not come out even.
            let part = (total + settings.outputs - 1) / max(1, settings.outputs)
            sizes = (0..<settings.outputs).map { max(0, min(part, total - $0 * part)) }
        }
        guard sizes.count == settings.outputs, sizes.allSatisfy({ $0 >= 0 }),
            sizes.reduce(0 as Int?, { sum, size in sum.flatMap { Checked.sum($0, size) } }) == total
        else {
            throw KernelFailure("the parts \(sizes) do not make up an axis of length \(total)")
        }
        let (outer, length, inner) = x.around(axis)
        var start = 0
        for (index, size) in sizes.enumerated() {
            var shape = x.shape
            shape[axis] = size
            if outer == 1 {
                let bytes = start * inner * x.elementType.byteWidth
                context.set(
                    index,
                    RuntimeTensor(
                        x.elementType, shape, layout: x.layout, buffer: x.buffer, offset: x.offset + bytes))
            } else {
                let part = try context.output(index, x.elementType, shape, layout: x.layout)
                try copyStrided(
                    width: x.elementType.byteWidth, shape: [outer, size * inner], from: x.pointer,
                    StridedView(offset: start * inner, strides: [length * inner, 1]), to: part.pointer,
                    StridedView(strides: [size * inner, 1]), of: x.byteCount)
            }
            start += size
        }
    }

    // MARK: Slice

    struct SliceSettings: Sendable {
        let starts: [Int]
        let ends: [Int]
        let axes: [Int]?
        let steps: [Int]?
    }

    /// The shape of a slice of a tensor, and where its elements lie in the tensor.
    static func resolve(_ settings: SliceSettings, _ x: RuntimeTensor) throws -> (shape: [Int], view: StridedView) {
        let axes = try normalizedAxes(settings.axes ?? Array(settings.starts.indices), rank: x.rank)
        let steps = settings.steps ?? Array(repeating: 1, count: axes.count)
        guard settings.starts.count == axes.count, settings.ends.count == axes.count, steps.count == axes.count else {
            throw KernelFailure("starts, ends, axes and steps differ in length")
        }
        var shape = x.shape
        let own = x.strides
        var view = StridedView(strides: own)
        for (index, axis) in axes.enumerated() {
            let size = x.shape[axis]
            let step = steps[index]
            guard step != 0, step != Int.min else { throw KernelFailure("a step of 0") }
            func clamped(_ value: Int, _ low: Int, _ high: Int) -> Int {
                max(low, min(high, value < 0 ? value.addingReportingOverflow(size).partialValue : value))
            }
            let (start, end): (Int, Int) =
                step > 0
                ? (clamped(settings.starts[index], 0, size), clamped(settings.ends[index], 0, size))
                : (clamped(settings.starts[index], 0, size - 1), clamped(settings.ends[index], -1, size - 1))
            let span = step > 0 ? end - start : start - end
            shape[axis] = span <= 0 || size == 0 ? 0 : (span - 1) / abs(step) + 1
            guard shape[axis] > 0 else { continue }
            view.offset += start * own[axis]
            view.strides[axis] = own[axis] &* step
        }
        return (shape, view)
    }

    static func slice(_ context: KernelContext, _ settings: SliceSettings) throws {
        let x = try context.input(0)
        let (shape, view) = try resolve(settings, x)
        if shape == x.shape, view.strides == x.strides {
            context.set(0, x)
            return
        }
        let result = try context.output(0, x.elementType, shape, layout: x.layout)
        let order = x.memoryOrder
        try copyStrided(
            width: x.elementType.byteWidth, shape: order.map { shape[$0] }, from: x.pointer,
            StridedView(offset: view.offset, strides: order.map { view.strides[$0] }), to: result.pointer,
            StridedView(strides: order.map { result.strides[$0] }))
    }

    /// `SliceGrad(dY, X, starts, ends, axes, steps) → dX`: dY where the slice was, zeros around.
    static func sliceGradient(_ context: KernelContext) throws {
        let settings = SliceSettings(
            starts: try context.integers(2), ends: try context.integers(3), axes: try context.optionalIntegers(4),
            steps: try context.optionalIntegers(5))
        let dy = try context.input(0)
        let dx = try context.output(0, dy.elementType, try context.input(1).shape, layout: dy.layout)
        let (shape, view) = try resolve(settings, dx)
        guard shape == dy.shape else {
            throw KernelFailure("a gradient of shape \(dy.shape) does not fit a slice of shape \(shape)")
        }
        dx.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: dx.byteCount)
        let order = dy.memoryOrder
        try copyStrided(
            width: dy.elementType.byteWidth, shape: order.map { shape[$0] }, from: dy.pointer,
            StridedView(strides: order.map { dy.strides[$0] }), to: dx.pointer,
            StridedView(offset: view.offset, strides: order.map { view.strides[$0] }))
    }

    // MARK: Expand, Tile, DepthToSpace

    static func expand(_ context: KernelContext, _ x: RuntimeTensor, _ shape: [Int]) throws {
        if shape == x.shape {
            context.set(0, x)
            return
        }
        let result = try context.output(0, x.elementType, shape)
        let own = x.strides
        let strides = shape.indices.map { axis -> Int in
            let position = axis - (shape.count - x.rank)
            return position < 0 || x.shape[position] == 1 ? 0 : own[position]
        }
        try copyStrided(
            width: x.elementType.byteWidth, shape: shape, from: x.pointer, StridedView(strides: strides),
            to: result.pointer, StridedView(strides: result.strides))
    }

    static func tile(_ context: KernelContext, _ repeats: [Int]) throws {
        let x = try context.plain(0)
        guard repeats.count == x.rank, repeats.allSatisfy({ $0 >= 0 }) else {
            throw KernelFailure("repeats \(repeats) do not fit a tensor with \(x.rank) axes")
        }
        let shape = zip(x.shape, repeats).compactMap { Checked.product([$0, $1]) }
        guard shape.count == x.rank, let total = Checked.product(repeats),
            Checked.product([total, max(1, x.count)]) != nil
        else { throw KernelFailure("repeats \(repeats) are too many") }
        let result = try context.output(0, x.elementType, shape)
        let (own, out) = (x.strides, result.strides)
        try copyStrided(
            width: x.elementType.byteWidth, shape: x.shape.indices.flatMap { [repeats[$0], x.shape[$0]] },
            from: x.pointer, StridedView(strides: own.flatMap { [0, $0] }), to: result.pointer,
            StridedView(strides: x.shape.indices.flatMap { [out[$0] * x.shape[$0], out[$0]] }))
    }

    static func depthToSpace(_ context: KernelContext, block: Int, mode: String) throws {
        let x = try context.input(0)
        guard x.rank == 4, (1..<1 << 24).contains(block), x.shape[1] % (block * block) == 0 else {
            throw KernelFailure("blocksize \(block) does not fit the shape \(x.shape)")
        }
        let (n, c, h, w) = (x.shape[0], x.shape[1] / (block * block), x.shape[2], x.shape[3])
        let result = try context.output(0, x.elementType, [n, c, h * block, w * block], layout: x.layout)
        let (own, out) = (x.strides, result.strides)
        // Column, row and depth of a block within the channels, by the operator's definition.
        let isDCR = mode == "DCR"
        let depth = isDCR ? own[1] : own[1] * block * block
        let row = isDCR ? own[1] * c * block : own[1] * block
        let column = isDCR ? own[1] * c : own[1]
        try copyStrided(
            width: x.elementType.byteWidth, shape: [n, h, block, w, block, c], from: x.pointer,
            StridedView(strides: [own[0], own[2], row, own[3], column, depth]), to: result.pointer,
            StridedView(strides: [out[0], out[2] * block, out[2], out[3] * block, out[3], out[1]]))
    }

    static func spaceToDepth(_ context: KernelContext, block: Int, mode: String) throws {
        let x = try context.input(0)
        guard x.rank == 4, (1..<1 << 20).contains(block), x.shape[2] % block == 0, x.shape[3] % block == 0,
            Checked.product([x.shape[1], block, block]) != nil
        else {
            throw KernelFailure("blocksize \(block) does not fit the shape \(x.shape)")
        }
        let (n, c, h, w) = (x.shape[0], x.shape[1], x.shape[2] / block, x.shape[3] / block)
        let result = try context.output(0, x.elementType, [n, c * block * block, h, w], layout: x.layout)
        let (own, out) = (x.strides, result.strides)
        // Where row, column and depth of a block go among the channels.
        let isDCR = mode == "DCR"
        let depth = isDCR ? out[1] : out[1] * block * block
        let row = isDCR ? out[1] * c * block : out[1] * block
        let column = isDCR ? out[1] * c : out[1]
        try copyStrided(
            width: x.elementType.byteWidth, shape: [n, h, block, w, block, c], from: x.pointer,
            StridedView(strides: [own[0], own[2] * block, own[2], own[3] * block, own[3], own[1]]),
            to: result.pointer, StridedView(strides: [out[0], out[2], row, out[3], column, depth]))
    }
}
