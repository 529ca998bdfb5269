import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// A caching allocator: blocks that tensors gave back are handed out again, the best fit first.
///
/// Sizes are rounded up to classes, eight for each doubling. A run that repeats the same shapes gets the same blocks
/// in the same order. Used by one thread.
package final class Arena {
    private var free: [[UnsafeMutableRawPointer]] = []
    /// The bytes of all blocks in use.
    package private(set) var liveBytes = 0
    /// The bytes of all blocks that wait to be handed out.
    package private(set) var cachedBytes = 0
    /// The most bytes that were ever reserved at once.
    package private(set) var peakBytes = 0

    /// The most bytes that were ever in use at once.
    private var peakLiveBytes = 0

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

    /// Whether so many bytes more may come into use.
    package func hasRoom(for bytes: Int) -> Bool { bytes <= limit && liveBytes <= limit - bytes }

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
        if free.count <= index + 8 {
            free.append(contentsOf: repeatElement([], count: index + 9 - free.count))
        }
        // A block up to an eighth larger costs less than a fresh one; any larger one does where there is no room for more.
        if let found = waiting(index...(index + 1)) { return found }
        if liveBytes + cachedBytes + size > bound(for: size) {
            if let found = waiting((index + 2)..<free.count) { return found }
            evict(for: size)
        }
        var block: UnsafeMutableRawPointer?
        let huge = size >= 4 << 20
        guard posix_memalign(&block, huge ? 2 << 20 : 64, size) == 0, let pointer = block else {
            throw RuntimeError.outOfMemory(bytes: bytes)
        }
        if huge { madvise(pointer, size, MADV_HUGEPAGE) }
        liveBytes += size
        peakLiveBytes = max(peakLiveBytes, liveBytes)
        peakBytes = max(peakBytes, liveBytes + cachedBytes)
        return Buffer(pointer: pointer, capacity: size, sizeClass: index, arena: self)
    }

    static func bytes(ofClass index: Int) -> Int {
        if index <= 8 { return index * 64 }
        let shift = (index - 8) / 8
        let step = 8 + (index - 8) % 8
        return (step << shift) * 64
    }

    func giveBack(_ pointer: UnsafeMutableRawPointer, sizeClass: Int) {
        let size = Self.bytes(ofClass: sizeClass)
        liveBytes -= size
        cachedBytes += size
        free[sizeClass].append(pointer)
    }

    /// The smallest waiting block of some classes.
    private func waiting(_ classes: some Sequence<Int>) -> Buffer? {
        for candidate in classes {
            guard let pointer = free[candidate].popLast() else { continue }
            let size = Self.bytes(ofClass: candidate)
            cachedBytes -= size
            liveBytes += size
            peakLiveBytes = max(peakLiveBytes, liveBytes)
            return Buffer(pointer: pointer, capacity: size, sizeClass: candidate, arena: self)
        }
        return nil
    }

    /// The bytes that may be reserved before a block of some size: a little more than what was ever in use at once.
    private func bound(for size: Int) -> Int { max(peakLiveBytes, liveBytes + size) * 5 / 4 + (32 << 20) }

    /// Frees waiting blocks, the largest first, until there is room for a fresh one.
    ///
    /// A run that repeats itself comes to a set of blocks with which it needs no fresh ones; pages of fresh ones are
    /// cleared by the system, which can cost as much as what is computed in them.
    private func evict(for size: Int) {
        let bound = bound(for: size)
        var index = free.count - 1
        while liveBytes + cachedBytes + size > bound, index >= 0 {
            guard let pointer = free[index].popLast() else {
                index -= 1
                continue
            }
            Glibc.free(pointer)
            cachedBytes -= Self.bytes(ofClass: index)
        }
    }

    /// Frees the blocks that wait.
    package func trim() {
        for index in free.indices {
            for pointer in free[index] { Glibc.free(pointer) }
            free[index].removeAll()
        }
        cachedBytes = 0
    }
}
