import GraftCore
import GraftIR
import GraftTestSupport
import GraftTraining
import OrderedCollections
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct CheckpointTests {
    private func checkpoint(_ step: Int, best: Int? = nil) -> Checkpoint {
        var state: JSON = ["epoch": JSON(step / 10), "figure": 0.1, "missing": .number(.nan)]
        if let best { state["best"] = ["step": JSON(best)] }
        return Checkpoint(
            step: step, state: state,
            tensors: [
                "w": Tensor([Float(step), -1, .infinity, .nan, Float.leastNonzeroMagnitude, 6], shape: [2, 3]),
                "steps": Tensor(scalar: Int64(step)), "empty": Tensor([Float](), shape: [0, 4]),
            ])
    }

    /// Changes one bit of a file in place.
    private func flip(_ path: String, at offset: Int) throws {
        let descriptor = open(path, O_RDWR)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        try #require(pread(descriptor, &byte, 1, offset) == 1)
        byte ^= 0x10
        try #require(pwrite(descriptor, &byte, 1, offset) == 1)
    }

    @Test func readsBackWhatWasWritten() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: "\(folder)/run/checkpoints")
            try store.write(.step, checkpoint(7))
            let latest = try #require(try store.latest())
            #expect(latest.checkpoint.step == 7 && latest.remarks.isEmpty && latest.best == nil)
            #expect(latest.checkpoint.tensors == checkpoint(7).tensors)
            #expect(latest.checkpoint.state["figure"]?.double == 0.1)
        }
    }

    @Test func fallsBackOneGenerationAndSaysSo() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            for step in [1, 2, 3] { try store.write(.step, checkpoint(step)) }
            try store.prune()
            #expect(store.steps() == [3, 2])
            try flip("\(folder)/step-3/tensors.safetensors", at: 100)
            let latest = try #require(try store.latest())
            #expect(latest.checkpoint.step == 2)
            #expect(latest.remarks.count == 1 && latest.remarks[0].contains("step-3"))
            try store.removeNewer(than: 2)
            #expect(store.steps() == [2])
        }
    }

    @Test func everyFlippedByteIsNoticed() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            try store.write(.step, checkpoint(5))
            for name in ["manifest.json", "tensors.safetensors"] {
                let path = "\(folder)/step-5/\(name)"
                let size = try MappedFile(path: path).count
                for offset in 0..<size {
                    try flip(path, at: offset)
                    // White space outside strings carries nothing; any other change must be refused.
                    if let read = try? store.read(step: 5) { #expect(read.tensors == checkpoint(5).tensors) }
                    try flip(path, at: offset)
                }
            }
            #expect(try store.read(step: 5).step == 5)
        }
    }

    @Test func everyTruncationIsRefused() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            for name in ["manifest.json", "tensors.safetensors"] {
                try store.write(.step, checkpoint(5))
                let path = "\(folder)/step-5/\(name)"
                let size = try MappedFile(path: path).count
                for length in stride(from: size - 2, through: 0, by: -1) {
                    truncate(path, length)
                    #expect(throws: CheckpointError.self) { try store.read(step: 5) }
                }
            }
        }
    }

    @Test func allDamagedIsAnErrorNotAFreshStart() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            #expect(try store.latest() == nil)
            try store.write(.step, checkpoint(1))
            unlink("\(folder)/step-1/manifest.json")
            #expect(throws: CheckpointError.self) { try store.latest() }
        }
    }

    @Test func bestStateLivesAsLongAsItIsReferredTo() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            try store.write(.best, checkpoint(2))
            try store.write(.best, checkpoint(4))
            try store.write(.step, checkpoint(5, best: 2))
            try store.write(.step, checkpoint(6, best: 4))
            try store.prune()
            #expect(store.steps(.best) == [4, 2])
            try store.write(.step, checkpoint(7, best: 4))
            try store.prune()
            #expect(store.steps(.best) == [4])
            #expect(try store.latest()?.best?.step == 4)
            try flip("\(folder)/best-4/tensors.safetensors", at: 40)
            #expect(throws: CheckpointError.self) { try store.latest() }
        }
    }

    /// A child writes checkpoints as fast as it can and is killed at 40 moments; each time the newest one must read.
    @Test func survivesKillAtAnyMoment() throws {
        try Fixtures.withTemporaryFolder { folder in
            let store = CheckpointStore(folder: folder)
            var last = 0
            for round in 0..<40 {
                let child = try spawnWriter(folder: folder, from: last + 1)
                usleep(UInt32(4_000 + round * 1_700))
                kill(child, SIGKILL)
                var status: Int32 = 0
                waitpid(child, &status, 0)
                guard let found = try store.latest() else { continue }
                #expect(found.checkpoint.step >= last, "a checkpoint was lost")
                #expect(found.remarks.isEmpty, "\(found.remarks)")
                #expect(
                    try found.checkpoint.tensors["steps"]?.elements(as: Int64.self) == [Int64(found.checkpoint.step)])
                last = found.checkpoint.step
            }
            #expect(last > 5)
        }
    }

    /// Starts this test program again as a process that only writes checkpoints.
    private func spawnWriter(folder: String, from step: Int) throws -> pid_t {
        let child = graft_fork()
        try #require(child >= 0)
        if child == 0 {
            let store = CheckpointStore(folder: folder)
            var step = step
            while true {
                do {
                    try store.write(.step, checkpoint(step))
                    try store.prune()
                } catch {
                    _exit(1)
                }
                step += 1
            }
        }
        return child
    }
}

/// `fork`, which the Swift overlay hides because a child of a program with threads may do little; this one only writes
/// files and never returns.
@_silgen_name("fork") private func graft_fork() -> pid_t
