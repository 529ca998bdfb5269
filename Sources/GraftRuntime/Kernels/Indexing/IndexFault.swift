import GraftCore
import Synchronization

/// Checks indices inside parallel loops, and keeps one that is out of range until the loop is over.
final class IndexFault: Sendable {
    private static let none = Int.min
    private let index = Atomic<Int>(IndexFault.none)
    private let length = Atomic<Int>(0)

    /// The position that an index names on an axis, negative ones counting from the end; -1 where there is none.
    @inline(__always)
    func position(_ index: Int64, _ length: Int) -> Int {
        let position = index < 0 ? Int(index) &+ length : Int(index)
        if position >= 0, position < length { return position }
        note(Int(index), length)
        return -1
    }

    @inline(never)
    private func note(_ index: Int, _ length: Int) {
        // Int.min stands for no fault.
        self.length.store(length, ordering: .relaxed)
        self.index.store(max(index, IndexFault.none + 1), ordering: .relaxed)
    }

    /// Throws where an index was out of range.
    func check() throws {
        let index = index.load(ordering: .relaxed)
        guard index != IndexFault.none else { return }
        throw KernelFailure(
            "the index \(index) lies outside an axis of length \(length.load(ordering: .relaxed))")
    }
}

extension KernelContext {
    /// An input that holds indices, as 64-bit integers in row-major order.
    func indices(_ input: Int) throws -> RuntimeTensor {
        let tensor = try plain(input)
        switch tensor.elementType {
        case .int64: return tensor
        case .int32: return try cast(tensor, .int64)
        default: throw KernelFailure("input \(input) must hold integers, not \(tensor.elementType.name)")
        }
    }

    /// The single number of an input.
    func integer(_ input: Int) throws -> Int {
        let values = try integers(input)
        guard values.count == 1 else { throw KernelFailure("input \(input) has \(values.count) elements, not one") }
        return values[0]
    }
}
