import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// The order in which the elements of a tensor lie in memory.
///
/// Images flow through convolutional networks with their channels last, an order without padding that every kernel can
/// read. Where a chain of convolutions keeps to kernels that know it, they flow in blocks of channels, for which oneDNN's
/// kernels are the fastest; ``ChooseLayouts`` decides.
package enum Layout: Sendable, Equatable {
    /// The last axis varies fastest.
    case rowMajor
    /// Axis 1 varies fastest, then the last axis: (N, C, spatial...) stored as (N, spatial..., C). Rank at least 3.
    case channelsLast
    /// Axis 1 in blocks of ``block`` channels: (N, C, spatial...) stored as (N, blocks of C, spatial..., block).
    /// Channels that fill up the last block are zeros. Rank 4 and 32-bit floating point only.
    case blocked
    /// ``blocked``, each number rounded to bfloat16 and kept in 16 bits; its element type is still float32, which it
    /// stands for.
    case roundedBlocks

    /// The channels of a block.
    static let block = 16

    /// Whether the channels lie in blocks.
    var isBlocked: Bool { self == .blocked || self == .roundedBlocks }

    /// The number of bytes that a tensor takes; nil where it overflows.
    func byteCount(_ type: ElementType, _ shape: [Int]) -> Int? {
        let count = isBlocked ? RuntimeTensor.blockedCount(shape) : Checked.product(shape)
        return count.flatMap { (self == .roundedBlocks ? .bfloat16 : type).byteCount(elements: $0) }
    }
}

/// A tensor of a run: element type, shape, memory order, and bytes in a shared block.
///
/// A value without copy-on-write: whoever makes it writes it once, everyone later reads it.
package struct RuntimeTensor {
    package let elementType: ElementType
    package let shape: [Int]
    package let layout: Layout
    package var buffer: Buffer
    /// Where in the block the tensor starts, in bytes.
    package let offset: Int
    /// The number of elements.
    package let count: Int
    /// The narrower type that 32-bit elements between two widening kernels stand for.
    var standsFor: ElementType?

    package init(
        _ elementType: ElementType, _ shape: [Int], layout: Layout = .rowMajor, buffer: Buffer, offset: Int = 0
    ) {
        self.elementType = elementType
        self.shape = shape
        self.layout = layout
        self.buffer = buffer
        self.offset = offset
        count = shape.reduce(1, *)
    }

    /// The number of axes.
    package var rank: Int { shape.count }
    /// The number of elements in memory, those that fill up blocks included.
    package var storedCount: Int { layout.isBlocked ? Self.blockedCount(shape) ?? 0 : count }
    /// The number of bytes that the elements take.
    package var byteCount: Int { layout.byteCount(elementType, shape) ?? 0 }
    /// The number of blocks of channels.
    package var blockCount: Int { (shape[1] + Layout.block - 1) / Layout.block }

    /// The number of elements that a shape takes in blocks; nil where it overflows.
    static func blockedCount(_ shape: [Int]) -> Int? {
        guard shape.count >= 2, let channels = Checked.sum(shape[1], Layout.block - 1) else { return nil }
        return Checked.product([shape[0], channels / Layout.block, Layout.block] + shape[2...])
    }
    /// The first byte; valid while the tensor or its kernel context holds the block.
    package var pointer: UnsafeMutableRawPointer { buffer.pointer + offset }
    /// The elements as 32-bit floating-point numbers.
    package var floats: UnsafeMutablePointer<Float> { pointer.assumingMemoryBound(to: Float.self) }
    /// The elements as numbers of bfloat16.
    package var rounded: UnsafeMutablePointer<UInt16> { pointer.assumingMemoryBound(to: UInt16.self) }
    /// The elements as 64-bit integers.
    package var int64s: UnsafeMutablePointer<Int64> { pointer.assumingMemoryBound(to: Int64.self) }
    /// The elements as any type of their width.
    package func typed<T>(_ type: T.Type) -> UnsafeMutablePointer<T> { pointer.assumingMemoryBound(to: T.self) }

    /// Drops the resident pages of the file that the tensor lies in.
    func releasePages() { buffer.releasePages(offset: offset, count: byteCount) }

    /// The number of elements of all axes after the second.
    package var spatialCount: Int { rank > 2 ? shape[2...].reduce(1, *) : 1 }
    /// Whether the row-major order and channels-last order of this shape are the same.
    package var isOrderFree: Bool { rank < 3 || shape[1] == 1 || spatialCount == 1 }
    /// Whether the elements lie in row-major order.
    package var isRowMajor: Bool { layout == .rowMajor || layout == .channelsLast && isOrderFree }
    /// Whether the elements lie with the channels last.
    package var isChannelsLast: Bool { rank >= 3 && (layout == .channelsLast || layout == .rowMajor && isOrderFree) }

    /// Whether the first byte is aligned as the elements need.
    package var isAligned: Bool {
        Int(bitPattern: pointer) % max(1, min(8, elementType.byteWidth)) == 0
    }

    /// The distance between neighbours along each axis, in elements; blocks have none.
    package var strides: [Int] { Self.strides(shape, layout) }

    /// The distances between neighbours for a shape in a memory order.
    package static func strides(_ shape: [Int], _ layout: Layout) -> [Int] {
        var result = [Int](repeating: 1, count: shape.count)
        var step = 1
        if layout == .channelsLast, shape.count >= 3 {
            result[1] = 1
            step = shape[1]
            for axis in stride(from: shape.count - 1, through: 2, by: -1) {
                result[axis] = step
                step *= shape[axis]
            }
            result[0] = step
        } else {
            for axis in stride(from: shape.count - 1, through: 0, by: -1) {
                result[axis] = step
                step *= shape[axis]
            }
        }
        return result
    }

    /// The same bytes under another shape; row-major unless said.
    ///
    /// - Precondition: the element counts agree, and the bytes lie in that order.
    package func viewed(_ shape: [Int], layout: Layout = .rowMajor) -> RuntimeTensor {
        RuntimeTensor(elementType, shape, layout: layout, buffer: buffer, offset: offset)
    }

    /// A part of a row-major tensor that starts at an element.
    package func part(startingAt element: Int, _ shape: [Int]) -> RuntimeTensor {
        RuntimeTensor(elementType, shape, buffer: buffer, offset: offset + element * elementType.byteWidth)
    }
}
