import GraftRuntime
import Testing

/// Blocks are handed out again, and the whole stays near what was in use at once.
@Suite struct ArenaTests {
    private let megabyte = 1 << 20

    @Test func aBlockOfTheSameSizeIsHandedOutAgain() throws {
        let arena = Arena()
        let first = try arena.allocate(8 * megabyte).pointer
        let second = try arena.allocate(8 * megabyte)
        #expect(second.pointer == first)
        #expect(arena.peakBytes == second.capacity)
    }

    @Test func aSmallRequestGetsNoMuchLargerBlockWhileThereIsRoom() throws {
        let arena = Arena()
        _ = try arena.allocate(20 * megabyte)
        let small = try arena.allocate(megabyte)
        #expect(small.capacity < 2 * megabyte)
    }

    /// Fresh blocks would be cleared by the system while large ones wait.
    @Test func aFullArenaHandsOutALargerBlock() throws {
        let arena = Arena()
        _ = try arena.allocate(256 * megabyte)
        _ = try arena.allocate(64 * megabyte)
        let reserved = arena.peakBytes
        let small = try arena.allocate(48 * megabyte)
        #expect(small.capacity == 64 * megabyte)
        #expect(arena.peakBytes == reserved)
    }

    /// A run that repeats itself comes to rest: after the first rounds nothing fresh is asked for.
    @Test(arguments: [[256, 64, 200, 32, 120], [8, 300, 9, 290, 10, 280], [100, 110, 121, 133, 146, 161]])
    func aRepeatedRunKeepsItsBlocks(_ sizes: [Int]) throws {
        let arena = Arena()
        func run() throws -> [UnsafeMutableRawPointer] {
            var places: [UnsafeMutableRawPointer] = []
            var last: Buffer?
            for size in sizes {
                let next = try arena.allocate(size * megabyte)
                places.append(next.pointer)
                withExtendedLifetime(last) {}
                last = next
            }
            return places
        }
        for _ in 0..<3 { _ = try run() }
        let (peak, settled) = (arena.peakBytes, Set(try run()))
        for _ in 0..<5 { #expect(Set(try run()).isSubset(of: settled)) }
        #expect(arena.peakBytes == peak)
        #expect(peak <= 2 * (sizes.sorted().suffix(2).reduce(0, +) + 64) * megabyte)
    }
}
