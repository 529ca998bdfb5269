import GraftCore
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A caching allocator: blocks that tensors gave back are handed out again, the best fit first.
///
/// Sizes are rounded up to classes, eight for each doubling. A run that repeats the same shapes gets the same blocks
/// in the same order. One thread takes blocks; any thread may give them back, as results outlive runs.
package final class Arena: Sendable {
    private struct State {
        var free: [[UnsafeMutableRawPointer]] = []
        /// The bytes of all blocks in use.
        var liveBytes = 0
        /// The bytes of all blocks that wait to be handed out.
        var cachedBytes = 0
        /// The most bytes that were ever reserved at once.
        var peakBytes = 0
        /// The most bytes that were ever in use at once.
        var peakLiveBytes = 0
        /// Whether nothing will be taken any more.
        var isClosed = false

        mutating func use(_ bytes: Int) {
            liveBytes += bytes
            peakLiveBytes = max(peakLiveBytes, liveBytes)
            peakBytes = max(peakBytes, liveBytes + cachedBytes)
        }
    }

    private let state = Mutex(State())
    /// The most bytes that may be in use at once.
    private let limit: Int

    /// An allocator.
    ///
    /// - Parameter limit: the most bytes that may be in use at once; the machine's memory unless said.
    package init(limit: Int = Arena.machineBytes) { self.limit = limit }

    /// The bytes of memory that the machine has: what a run needs beyond them would end the process.
    package static let machineBytes: Int = {
        let (pages, size) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        guard pages > 0, size > 0, let bytes = Checked.product([pages, size]) else { return 1 << 46 }
        return bytes
    }()

    /// The most bytes that were ever reserved at once.
    package var peakBytes: Int { state.withLock { $0.peakBytes } }

    /// Whether so many bytes more may come into use.
    package func hasRoom(for bytes: Int) -> Bool {
        bytes <= limit && state.withLock { $0.liveBytes } <= limit - bytes
    }

    deinit { trim() }

    /// The class of a size and the bytes that blocks of the class have.
    static func sizeClass(_ bytes: Int) -> (index: Int, bytes: Int) {
        let units = max(1, (bytes + 63) / 64)
        if units <= 8 { return (units, units * 64) }
        let shift = Int.bitWidth - units.leadingZeroBitCount - 4
        let step = (units + (1 << shift) - 1) >> shift
        // `step` is in 8...16; 16 is the first class of the next doubling, which the formula numbers alike.
        return (8 + shift * 8 + step - 8, (step << shift) * 64)
    }

    /// A block of at least the given size; its content is arbitrary.
    ///
    /// - Throws: ``RuntimeError/outOfMemory(bytes:)``.
    package func allocate(_ bytes: Int) throws -> Buffer {
        guard bytes >= 0, bytes < 1 << 46, hasRoom(for: bytes) else { throw RuntimeError.outOfMemory(bytes: bytes) }
        let (index, size) = Self.sizeClass(bytes)
        if let (address, found, candidate) = state.withLock({ Self.takeWaiting(index, size, &$0) }),
            let pointer = UnsafeMutableRawPointer(bitPattern: address)
        {
            return Buffer(pointer: pointer, capacity: found, sizeClass: candidate, arena: self)
        }
        var block: UnsafeMutableRawPointer?
        let huge = size >= 4 << 20
        guard posix_memalign(&block, huge ? 2 << 20 : 64, size) == 0, let pointer = block else {
            throw RuntimeError.outOfMemory(bytes: bytes)
        }
        if huge { madvise(pointer, size, MADV_HUGEPAGE) }
        state.withLock { $0.use(size) }
        return Buffer(pointer: pointer, capacity: size, sizeClass: index, arena: self)
    }

    /// The address, size and class of a block that waits; where there is none, room is made for a fresh one.
    private static func takeWaiting(_ index: Int, _ size: Int, _ state: inout State) -> (UInt, Int, Int)? {
        if state.free.count <= index + 8 {
            state.free.append(contentsOf: repeatElement([], count: index + 9 - state.free.count))
        }
        // A block up to an eighth larger costs less than a fresh one; any larger one does where there is no room for more.
        let isFull = state.liveBytes + state.cachedBytes + size > bound(for: size, state)
        for candidate in index..<(isFull ? state.free.count : index + 2) {
            guard let pointer = state.free[candidate].popLast() else { continue }
            let found = bytes(ofClass: candidate)
            state.cachedBytes -= found
            state.use(found)
            return (UInt(bitPattern: pointer), found, candidate)
        }
        evict(for: size, &state)
        return nil
    }

    /// The bytes that may be reserved before a block of some size: a little more than what was ever in use at once.
    private static func bound(for size: Int, _ state: borrowing State) -> Int {
        max(state.peakLiveBytes, state.liveBytes + size) * 5 / 4 + (32 << 20)
    }

    static func bytes(ofClass index: Int) -> Int {
        if index <= 8 { return index * 64 }
        let shift = (index - 8) / 8
        let step = 8 + (index - 8) % 8
        return (step << shift) * 64
    }

    func giveBack(_ pointer: UnsafeMutableRawPointer, sizeClass: Int) {
        let size = Self.bytes(ofClass: sizeClass)
        let address = UInt(bitPattern: pointer)
        let isClosed = state.withLock { state in
            state.liveBytes -= size
            guard !state.isClosed, let pointer = UnsafeMutableRawPointer(bitPattern: address) else { return true }
            state.cachedBytes += size
            state.free[sizeClass].append(pointer)
            return false
        }
        if isClosed { Glibc.free(pointer) }
    }

    /// Frees waiting blocks, the largest first, until there is room for a fresh one.
    ///
    /// A run that repeats itself comes to a set of blocks with which it needs no fresh ones; pages of fresh ones are
    /// cleared by the system, which can cost as much as what is computed in them.
    private static func evict(for size: Int, _ state: inout State) {
        let bound = bound(for: size, state)
        var index = state.free.count - 1
        while state.liveBytes + state.cachedBytes + size > bound, index >= 0 {
            guard let pointer = state.free[index].popLast() else {
                index -= 1
                continue
            }
            Glibc.free(pointer)
            state.cachedBytes -= bytes(ofClass: index)
        }
    }

    /// Frees the blocks that wait.
    package func trim() {
        state.withLock { state in
            for index in state.free.indices {
                for pointer in state.free[index] { Glibc.free(pointer) }
                state.free[index].removeAll()
            }
            state.cachedBytes = 0
        }
    }

    /// Frees the blocks that wait; those in use are freed when they are given back.
    func close() {
        state.withLock { $0.isClosed = true }
        trim()
    }
}
