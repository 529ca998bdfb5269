import CProtobufC
import Glibc

/// Memory that is given out piece by piece and freed at once, up to a budget.
///
/// Only large pieces are freed before, when protobuf-c gives them back: the lists that it keeps while it parses.
///
/// protobuf-c allocates every message, text and list of a file through it, so a file cannot make the process hold
/// more than the budget, and a parse that fails half way leaks nothing.
final class Arena {
    // Invariant: every chunk is a live allocation that is freed only in deinit; `next..<end` lies in the last chunk and
    // was given to nobody. Pointers that the arena gave out are used only while it lives. A large piece is a live
    // allocation of its own as long as its address is a key of `large`.
    private var chunks: [UnsafeMutableRawPointer] = []
    private var large: [UInt: Int] = [:]
    private static let largeSize: UInt = 1 << 16
    private var next: UInt = 0
    private var end: UInt = 0
    private let budget: Int
    private var reserved = 0

    /// Whether an allocation was refused because it would have passed the budget.
    private(set) var isExhausted = false

    init(budget: Int = .max) { self.budget = budget }

    deinit {
        for chunk in chunks { free(chunk) }
        for address in large.keys { free(UnsafeMutableRawPointer(bitPattern: address)) }
    }

    /// Memory for `count` bytes, aligned to 16, or nil where the budget does not allow it.
    func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
        guard count >= 0, count <= Int.max - 16 else {
            isExhausted = true
            return nil
        }
        let rounded = UInt(max((count + 15) & ~15, 16))
        if rounded >= Self.largeSize {
            guard Int(rounded) <= budget - reserved, let piece = malloc(Int(rounded)) else {
                isExhausted = true
                return nil
            }
            reserved += Int(rounded)
            large[UInt(bitPattern: piece)] = Int(rounded)
            return piece
        }
        if end - next < rounded {
            // Chunks grow with the arena, so a large parse makes few and a small one wastes little.
            let growth = min(max(1 << 16, reserved / 4), 1 << 24)
            let left = budget - reserved
            let size = max(Int(rounded), min(growth, left))
            guard size <= left, let chunk = malloc(size) else {
                isExhausted = true
                return nil
            }
            chunks.append(chunk)
            reserved += size
            next = UInt(bitPattern: chunk)
            end = next + UInt(size)
        }
        let pointer = UnsafeMutableRawPointer(bitPattern: next)
        next += rounded
        return pointer
    }

    /// Takes back a large piece; a small one stays until the end.
    private func release(_ pointer: UnsafeMutableRawPointer) {
        guard !large.isEmpty, let size = large.removeValue(forKey: UInt(bitPattern: pointer)) else { return }
        reserved -= size
        free(pointer)
    }

    /// Memory for `count` values; the writer's arenas have no budget.
    func array<T>(of type: T.Type, count: Int) -> UnsafeMutablePointer<T> {
        guard let memory = allocate(count * MemoryLayout<T>.stride) else { fatalError("out of memory") }
        return memory.bindMemory(to: T.self, capacity: max(count, 1))
    }

    /// Calls `body` with an allocator for protobuf-c that takes from the arena.
    func withAllocator<R>(_ body: (UnsafeMutablePointer<ProtobufCAllocator>) -> R) -> R {
        withExtendedLifetime(self) {
            var allocator = ProtobufCAllocator(
                alloc: { data, size in
                    guard let data, let size = Int(exactly: size) else { return nil }
                    return Unmanaged<Arena>.fromOpaque(data).takeUnretainedValue().allocate(size)
                },
                free: { data, pointer in
                    guard let data, let pointer else { return }
                    Unmanaged<Arena>.fromOpaque(data).takeUnretainedValue().release(pointer)
                },
                allocator_data: Unmanaged.passUnretained(self).toOpaque())
            return body(&allocator)
        }
    }
}
