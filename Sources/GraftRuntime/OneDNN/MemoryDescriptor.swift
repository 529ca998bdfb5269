import COneDNN
import GraftCore

/// A memory layout as oneDNN describes it; also layouts of weights that only oneDNN can read.
package final class MemoryDescriptor {
    let handle: OpaquePointer
    /// Whether a primitive chooses the layout.
    let isAny: Bool

    init(handle: OpaquePointer, isAny: Bool = false) {
        self.handle = handle
        self.isAny = isAny
    }

    deinit { gdnn_layout_destroy(handle) }

    /// The layout with the given strides in elements; row-major where nil.
    static func strided(_ type: ElementType, _ shape: [Int], strides: [Int]? = nil) throws -> MemoryDescriptor {
        // oneDNN has no scalars.
        let dims = shape.isEmpty ? [1] : shape.map { Int64($0) }
        let steps = shape.isEmpty ? [1] : strides?.map { Int64($0) }
        let handle =
            if let steps {
                gdnn_layout_strided(type.rawValue, Int32(dims.count), dims, steps)
            } else {
                gdnn_layout_strided(type.rawValue, Int32(dims.count), dims, nil)
            }
        guard let handle else { throw KernelFailure("oneDNN has no layout for shape \(shape)") }
        return MemoryDescriptor(handle: handle)
    }

    /// The layout of a tensor.
    static func of(_ tensor: RuntimeTensor) throws -> MemoryDescriptor {
        try strided(tensor.elementType, tensor.shape, strides: tensor.strides)
    }

    /// The layout of a shape in a memory order.
    static func ordered(_ type: ElementType, _ shape: [Int], _ layout: Layout) throws -> MemoryDescriptor {
        guard layout.isBlocked else {
            return try strided(type, shape, strides: RuntimeTensor.strides(shape, layout))
        }
        guard
            let handle = gdnn_layout_channel_blocks(
                (layout == .roundedBlocks ? .bfloat16 : type).rawValue, Int32(shape.count), shape.map { Int64($0) },
                Int64(Layout.block))
        else { throw KernelFailure("oneDNN has no blocked layout for shape \(shape)") }
        return MemoryDescriptor(handle: handle)
    }

    /// The layout of a shape with the channels last.
    static func channelsLast(_ type: ElementType, _ shape: [Int]) throws -> MemoryDescriptor {
        try strided(type, shape, strides: RuntimeTensor.strides(shape, .channelsLast))
    }

    /// The layout of a convolution's weights with their output channels, or their groups, in blocks of 16.
    static func filterBlocks(_ shape: [Int], _ type: ElementType = .float32) throws -> MemoryDescriptor {
        guard
            let handle = gdnn_layout_filter_blocks(
                type.rawValue, Int32(shape.count), shape.map { Int64($0) })
        else { throw KernelFailure("oneDNN has no layout with blocks of filters for shape \(shape)") }
        return MemoryDescriptor(handle: handle)
    }

    /// A layout that a primitive chooses.
    static func any(_ type: ElementType, _ shape: [Int]) throws -> MemoryDescriptor {
        guard
            let handle = gdnn_layout_any(
                type.rawValue, Int32(shape.count), shape.map { Int64($0) })
        else { throw KernelFailure("oneDNN has no layout for shape \(shape)") }
        return MemoryDescriptor(handle: handle, isAny: true)
    }

    /// Whether 32-bit floating-point numbers in this layout can be had back as they were.
    var isReversible: Bool {
        withUnsafeTemporaryAllocation(of: Int64.self, capacity: 5 * Int(GDNN_MAX_RANK)) { memory in
            let parts = (0..<5).map { memory.baseAddress?.advanced(by: $0 * Int(GDNN_MAX_RANK)) }
            return gdnn_layout_type(handle) == ElementType.float32.rawValue
                && gdnn_layout_describe(handle, parts[0], parts[1], parts[2], parts[3], parts[4]) >= 0
        }
    }

    /// The number of bytes of a tensor in this layout.
    var byteCount: Int { gdnn_layout_bytes(handle) }

    /// Whether two layouts are the same.
    func isEqual(to other: MemoryDescriptor) -> Bool { gdnn_layout_equal(handle, other.handle) != 0 }
}
