import COneDNN
import GraftCore

/// A reorder between two layouts.
final class LayoutConverter {
    private let primitive: Primitive

    init(from source: MemoryDescriptor, to target: MemoryDescriptor) throws {
        guard let made = try Primitive.make({ gdnn_reorder($0, source.handle, target.handle) }) else {
            throw KernelFailure("oneDNN has no reorder between two layouts")
        }
        primitive = made
    }

    func run(_ source: UnsafeMutableRawPointer, _ target: UnsafeMutableRawPointer, _ arena: Arena) throws {
        try primitive.run(arena, (GDNN_ARG_SRC, source), (GDNN_ARG_DST, target))
    }
}

/// Weights in the layout that a primitive wants.
///
/// Constant weights are held in one form only: where the file has them until the first run, packed afterwards. Forms
/// from which the weights cannot be had back (rounded ones) are kept beside the weights, whose pages of the
/// file are let go. Weights that change are packed again whenever their version changes.
final class PackedWeights {
    private typealias Packed = (layout: MemoryDescriptor, buffer: Buffer, version: Int)

    private var constant: (layout: MemoryDescriptor, tensor: RuntimeTensor)?
    private var packed: Packed?
    /// Forms from which the weights cannot be had back, the newest last.
    private var derived: [Packed] = []
    private var converter: (from: MemoryDescriptor, to: MemoryDescriptor, reorder: LayoutConverter)?

    /// Weights that the executor passes at each run.
    init() {}

    /// Constant weights whose bytes have the given layout.
    init(constant: RuntimeTensor, layout: MemoryDescriptor) { self.constant = (layout, constant) }

    /// The constant weights in the wanted layout.
    func constant(in wanted: MemoryDescriptor, _ context: KernelContext) throws -> UnsafeMutableRawPointer {
        if let packed, packed.layout.isEqual(to: wanted) { return packed.buffer.pointer }
        if let found = derived.last(where: { $0.layout.isEqual(to: wanted) }) { return found.buffer.pointer }
        let (layout, pointer): (MemoryDescriptor, UnsafeMutableRawPointer)
        if let packed {
            (layout, pointer) = (packed.layout, packed.buffer.pointer)
        } else if let constant {
            (layout, pointer) = (constant.layout, constant.tensor.pointer)
        } else {
            throw KernelFailure("the weights are missing")
        }
        let buffer = try context.arena.allocate(wanted.byteCount)
        try convert(pointer, layout, buffer.pointer, wanted, context)
        constant?.tensor.releasePages()
        if wanted.isReversible {
            packed = (wanted, buffer, 0)
            constant = nil
        } else {
            // Two batch sizes, that of the last batch included, are what a run over data needs.
            if derived.count == 2 { derived.removeFirst() }
            derived.append((wanted, buffer, 0))
        }
        return buffer.pointer
    }

    /// Weights of this run in the wanted layout; kept until their version changes.
    func dynamic(
        _ tensor: RuntimeTensor, layout: MemoryDescriptor, version: Int?, in wanted: MemoryDescriptor,
        _ context: KernelContext
    ) throws -> UnsafeMutableRawPointer {
        if layout.isEqual(to: wanted) { return tensor.pointer }
        if let version, let packed, packed.version == version, packed.layout.isEqual(to: wanted) {
            return packed.buffer.pointer
        }
        let buffer: Buffer
        if let old = packed, old.buffer.capacity >= wanted.byteCount {
            buffer = old.buffer
        } else {
            buffer = try context.arena.allocate(wanted.byteCount)
        }
        try convert(tensor.pointer, layout, buffer.pointer, wanted, context)
        packed = (wanted, buffer, version ?? -1)
        return buffer.pointer
    }

    private func convert(
        _ source: UnsafeMutableRawPointer, _ from: MemoryDescriptor, _ target: UnsafeMutableRawPointer,
        _ to: MemoryDescriptor, _ context: KernelContext
    ) throws {
        if let converter, converter.from.isEqual(to: from), converter.to.isEqual(to: to) {
            try converter.reorder.run(source, target, context.arena)
            return
        }
        let reorder = try LayoutConverter(from: from, to: to)
        try reorder.run(source, target, context.arena)
        converter = (from, to, reorder)
    }
}

/// The weights of a kernel: a constant that it took, or an operand of each run.
struct WeightOperand {
    /// The shape of the constant; nil for weights that each run gives.
    let constantShape: [Int]?
    private var constant: RuntimeTensor?
    private var packed: PackedWeights?

    init(_ constant: RuntimeTensor?) {
        self.constant = constant
        constantShape = constant?.shape
    }

    /// The weights as a primitive wants them.
    ///
    /// - Parameters:
    ///   - given: the weights of this run where there is no constant.
    ///   - version: what changes with the content of `given`.
    ///   - stored: the layout of the constant, or of `given`.
    mutating func pointer(
        _ given: RuntimeTensor?, version: Int?, stored: MemoryDescriptor, in wanted: MemoryDescriptor,
        _ context: KernelContext
    ) throws -> UnsafeMutableRawPointer {
        if let given {
            let cache = packed ?? PackedWeights()
            packed = cache
            return try cache.dynamic(given, layout: stored, version: version, in: wanted, context)
        }
        if let constant = constant.take() { packed = PackedWeights(constant: constant, layout: stored) }
        guard let packed else { throw KernelFailure("the weights are missing") }
        return try packed.constant(in: wanted, context)
    }
}
