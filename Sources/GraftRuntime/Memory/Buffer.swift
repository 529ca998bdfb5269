import GraftCore

/// A block of memory that tensors of a run share.
///
/// The last tensor that lets go of the block gives it back to its arena, so releasing a value is all that reuse needs.
package final class Buffer {
    // Invariant: `pointer` is valid for `capacity` bytes while the object lives; `keeper` owns memory that the arena
    // does not.
    package let pointer: UnsafeMutableRawPointer
    package let capacity: Int
    private let arena: Arena?
    private let sizeClass: Int
    private let keeper: AnyObject?

    /// A block of an arena.
    init(pointer: UnsafeMutableRawPointer, capacity: Int, sizeClass: Int, arena: Arena) {
        self.pointer = pointer
        self.capacity = capacity
        self.sizeClass = sizeClass
        self.arena = arena
        keeper = nil
    }

    /// Memory that someone else owns and that is never written.
    init(borrowing bytes: UnsafeRawBufferPointer, keeper: AnyObject) {
        pointer = bytes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) } ?? Buffer.empty
        capacity = bytes.count
        sizeClass = 0
        arena = nil
        self.keeper = keeper
    }

    deinit { arena?.giveBack(pointer, sizeClass: sizeClass) }

    /// Drops the resident pages of a mapped file behind a part of the block; they are read again when touched.
    func releasePages(offset: Int, count: Int) {
        guard let file = keeper as? MappedFile, let base = file.bytes.baseAddress else { return }
        let start = UnsafeRawPointer(pointer) - base + offset
        file.releasePages(start..<start + count)
    }

    /// Whether a kernel may write the block: false for weights in files and for what a caller owns.
    package var isWritable: Bool { arena != nil }

    // Points at memory that is never read: tensors without elements have no bytes.
    private nonisolated(unsafe) static let empty = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
}
