import GraftCore
import GraftIR

/// Scatter, ScatterElements and ScatterND.
enum ScatterKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [elements("Scatter"), elements("ScatterElements"), points("ScatterND")]
    }

    /// How an update and what it meets combine.
    enum Reduction: String, Sendable { case none, add, mul, max, min }

    private static func reduction(_ node: KernelNode) throws -> Reduction {
        let name = node.attributes.string("reduction") ?? "none"
        guard let reduction = Reduction(rawValue: name) else { throw KernelFailure("the reduction \"\(name)\"") }
        if reduction == .add || reduction == .mul, node.elementType(0) == .string {
            throw KernelFailure("texts cannot be computed with")
        }
        return reduction
    }

    private static func elements(_ type: String) -> KernelDefinition {
        KernelDefinition(type) { node in
            let (axis, reduction) = (node.attributes.int("axis") ?? 0, try reduction(node))
            return kernel(reduction) { context in
                let (updates, y) = try operands(context)
                let indices = try context.indices(1)
                let lines = try IndexedLines(indices: indices.shape, data: y.shape, axis: axis)
                guard updates.shape == indices.shape else {
                    throw KernelFailure("updates of shape \(updates.shape) for indices of shape \(indices.shape)")
                }
                let fault = IndexFault()
                try ScatterElementsTask(lines: lines, indices: indices.int64s, updates: updates, y: y, fault: fault)
                    .run(reduction)
                try fault.check()
            }
        }
    }

    private static func points(_ type: String) -> KernelDefinition {
        KernelDefinition(type) { node in
            let reduction = try reduction(node)
            return kernel(reduction) { context in
                if reduction == .none, try replacePoints(context) { return }
                let (updates, y) = try operands(context)
                let points = try IndexedPoints(context, indices: 1, data: y.shape, batchAxes: 0)
                guard updates.shape == points.shape else {
                    throw KernelFailure("updates of shape \(updates.shape), not \(points.shape)")
                }
                try ScatterPointsTask(points: points, updates: updates, y: y).run(reduction)
            }
        }
    }

    /// ScatterND where the last update of a block counts: every block is written once, from the data or from an update.
    ///
    /// False where blocks are so short that this would not pay.
    private static func replacePoints(_ context: KernelContext) throws -> Bool {
        let (shape, type) = try {
            let x = try context.plain(0)
            return (x.shape, x.elementType)
        }()
        let depth = try context.input(1).shape.last ?? 0
        guard depth <= shape.count, shape[depth...].reduce(type.byteWidth, *) >= 64 else { return false }
        let y = try context.output(0, reusing: 0, type, shape)
        let points = try IndexedPoints(context, indices: 1, data: shape, batchAxes: 0)
        let updates = try context.plain(2)
        guard updates.elementType == type, updates.shape == points.shape else {
            throw KernelFailure(
                "updates of type \(updates.elementType.name) and shape \(updates.shape), not \(type.name) and "
                    + "\(points.shape)")
        }
        let bytes = points.inner * type.byteWidth
        let blocks = y.count / points.inner
        // For each block the update that it takes, or -1.
        let chosen = try context.temporary(.int64, [blocks]).int64s
        chosen.update(repeating: -1, count: blocks)
        for row in 0..<points.count { chosen[Int(points.starts[row])] = Int64(row) }
        let x = try context.input(0)
        let (source, changes, target) = (x.pointer, updates.pointer, y.pointer)
        let isInPlace = source == target
        let streams = Streaming.isWorthwhile(y.byteCount) && bytes >= 1024
        Parallel.forEachRange(blocks, grain: max(1, 65536 / bytes)) { range in
            var block = range.lowerBound
            while block < range.upperBound {
                let update = Int(chosen[block])
                if update >= 0 {
                    Streaming.copy(
                        changes + update * bytes, to: target + block * bytes, bytes: bytes,
                        streams: streams && !isInPlace)
                    block += 1
                    continue
                }
                let first = block
                while block < range.upperBound, chosen[block] < 0 { block += 1 }
                if !isInPlace {
                    Streaming.copy(
                        source + first * bytes, to: target + first * bytes, bytes: (block - first) * bytes,
                        streams: streams)
                }
            }
            Streaming.finish(streams)
        }
        return true
    }

    /// Elements that are replaced only move; others are computed with.
    private static func kernel(
        _ reduction: Reduction, _ run: @escaping (KernelContext) throws -> Void
    ) -> any Kernel {
        if reduction == .none { return FunctionKernel(run) }
        return WideningKernel(FunctionKernel(run))
    }

    /// The updates, and an output that holds the data.
    private static func operands(_ context: KernelContext) throws -> (updates: RuntimeTensor, y: RuntimeTensor) {
        let y = try context.copyOfData()
        let updates = try context.plain(2)
        guard updates.elementType == y.elementType else {
            throw KernelFailure("updates of type \(updates.elementType.name) for data of type \(y.elementType.name)")
        }
        return (updates, y)
    }
}

extension KernelContext {
    /// Output 0 with the elements of input 0 in row-major order, in the memory of the input where nobody else reads it.
    func copyOfData() throws -> RuntimeTensor {
        let (shape, type) = try {
            let x = try plain(0)
            return (x.shape, x.elementType)
        }()
        let y = try output(0, reusing: 0, type, shape)
        let x = try input(0)
        if x.pointer != y.pointer {
            let (source, target) = (x.pointer, y.pointer)
            Parallel.forEachRange(y.byteCount, grain: 1 << 18) { range in
                (target + range.lowerBound).copyMemory(from: source + range.lowerBound, byteCount: range.count)
            }
        }
        return y
    }
}

/// A scatter whose way through the elements is known, for any type and combination.
protocol ScatterTask: WidthTask {
    var y: RuntimeTensor { get }
    func apply<C: Combination>(_ combination: C.Type)
}

extension ScatterTask {
    func run<T: BitwiseCopyable>(_ type: T.Type) { apply(Replacing<T>.self) }

    func run(_ reduction: ScatterKernels.Reduction) throws {
        if reduction == .none { return try run(width: y.elementType) }
        switch y.elementType {
        case .float32: floating(Float.self, reduction)
        case .float64: floating(Double.self, reduction)
        case .int8: integer(Int8.self, reduction)
        case .int16: integer(Int16.self, reduction)
        case .int32: integer(Int32.self, reduction)
        case .int64: integer(Int64.self, reduction)
        case .uint8: integer(UInt8.self, reduction)
        case .uint16: integer(UInt16.self, reduction)
        case .uint32: integer(UInt32.self, reduction)
        case .uint64: integer(UInt64.self, reduction)
        // The sum of truth values is their "or", the product their "and".
        case .bool: integer(UInt8.self, reduction == .add ? .max : reduction == .mul ? .min : reduction)
        case let type: throw KernelFailure("scattering by \(reduction.rawValue) of \(type.name)")
        }
    }

    private func floating<T: BinaryFloatingPoint & BitwiseCopyable>(
        _ type: T.Type, _ reduction: ScatterKernels.Reduction
    ) {
        switch reduction {
        case .none: apply(Replacing<T>.self)
        case .add: apply(Adding<T>.self)
        case .mul: apply(Multiplying<T>.self)
        case .max: apply(Raising<T>.self)
        case .min: apply(Lowering<T>.self)
        }
    }

    private func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ reduction: ScatterKernels.Reduction
    ) {
        switch reduction {
        case .none: apply(Replacing<T>.self)
        case .add: apply(WholeAdding<T>.self)
        case .mul: apply(WholeMultiplying<T>.self)
        case .max: apply(WholeRaising<T>.self)
        case .min: apply(WholeLowering<T>.self)
        }
    }
}

/// The updates of ScatterElements, an index an element.
struct ScatterElementsTask: ScatterTask {
    let lines: IndexedLines
    let indices: UnsafeMutablePointer<Int64>
    let updates: RuntimeTensor
    let y: RuntimeTensor
    let fault: IndexFault

    /// Only elements of one line meet, so lines are shared out and each is walked in order.
    func apply<C: Combination>(_ combination: C.Type) {
        let (source, target) = (updates.typed(C.Number.self), y.typed(C.Number.self))
        let (length, size, step, inner) = (lines.length, lines.size, lines.step, lines.inner)
        let width = min(inner, 64)
        guard width > 0 else { return }
        let blocks = (inner + width - 1) / width
        Parallel.forEachRange(lines.outer * blocks, grain: max(1, 8192 / max(1, length * width))) { range in
            for index in range {
                let (line, first) = (index / blocks, index % blocks * width)
                let to = target + lines.base(line)
                for row in 0..<length {
                    for column in first..<min(inner, first + width) {
                        let from = (line * length + row) * inner + column
                        let position = fault.position(indices[from], size)
                        guard position >= 0 else { continue }
                        let place = position * step + lines.offset(column)
                        to[place] = C.combine(to[place], source[from])
                    }
                }
            }
        }
    }
}

/// The updates of ScatterND, an index a block.
struct ScatterPointsTask: ScatterTask {
    let points: IndexedPoints
    let updates: RuntimeTensor
    let y: RuntimeTensor

    /// Every thread walks all updates in order and applies those that fall into its part of the result.
    func apply<C: Combination>(_ combination: C.Type) {
        let (source, target) = (updates.typed(C.Number.self), y.typed(C.Number.self))
        let (inner, count, starts) = (points.inner, points.count, points.starts)
        guard inner > 0, count > 0 else { return }
        let blocks = y.count / inner
        if blocks < Parallel.threads {
            Parallel.forEachRange(inner, grain: max(1, 8192 / count)) { columns in
                for row in 0..<count {
                    let (from, to) = (source + row * inner, target + Int(starts[row]) * inner)
                    for column in columns { to[column] = C.combine(to[column], from[column]) }
                }
            }
            return
        }
        let grain = inner * count < 16384 ? blocks : 1
        Parallel.forEachRange(blocks, grain: grain) { range in
            for row in 0..<count {
                let block = Int(starts[row])
                guard range.contains(block) else { continue }
                let (from, to) = (source + row * inner, target + block * inner)
                for column in 0..<inner { to[column] = C.combine(to[column], from[column]) }
            }
        }
    }
}
