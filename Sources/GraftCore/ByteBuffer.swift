#if canImport(Glibc)
import Glibc
#endif

/// A block of memory that its owner may write, aligned to 64 bytes for vector kernels.
public final class ByteBuffer: @unchecked Sendable {
    // Invariant: `pointer` is a live allocation of at least `count` bytes, freed only in deinit. Sendable: a buffer
    // that is shared is not written; writers make sure of that with `isKnownUniquelyReferenced` or own it alone.
    // Memory with another owner is freed by that one.
    @usableFromInline let pointer: UnsafeMutableRawPointer
    /// Who owns the memory; nil for the buffer itself.
    private let owner: AnyObject?

    /// The number of bytes.
    public let count: Int

    /// Reserves `count` bytes, not initialised unless `zeroed`.
    public init(count: Int, zeroed: Bool = false) {
        precondition(count >= 0)
        self.count = count
        let rounded = (max(count, 1) + 63) / 64 * 64
        guard let block = aligned_alloc(64, rounded) else {
            fatalError("out of memory: \(rounded) bytes")
        }
        pointer = block
        owner = nil
        if zeroed { memset(block, 0, rounded) }
    }

    /// Memory that another object owns, which lets go of it on any thread and does not write it while the buffer lives.
    package init(_ bytes: UnsafeMutableRawBufferPointer, ownedBy owner: AnyObject) {
        precondition(bytes.baseAddress != nil)
        pointer = bytes.baseAddress!
        count = bytes.count
        self.owner = owner
    }

    /// A copy of the given bytes.
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count)
        if let start = bytes.baseAddress, bytes.count > 0 { memcpy(pointer, start, bytes.count) }
    }

    deinit { if owner == nil { free(pointer) } }

    /// The bytes, for reading.
    @inlinable public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: count) }

    /// The bytes, for writing by the only owner.
    @inlinable public var mutableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: pointer, count: count)
    }
}
