import GraftCore
import GraftIR

/// Gives the loop what crosses the boundary of a stage, sample by sample: from the disk where features are kept, else by
/// running the frozen part each time.
final class FeatureSource {
    private let program: StageProgram
    private let samples: any TrainingSamples
    private let seed: UInt64
    private var cache: FeatureCache?
    private var keys: [Int: [String]] = [:]
    /// The number of differently varied versions that are kept; 1 is the samples as they are.
    private let views: Int
    /// What crosses the boundary and is the same for every sample, such as the extents of the picture.
    private var shared: [String: Tensor] = [:]

    /// The most bytes of features that are kept on disk for one frozen part and one set of samples.
    static let byteLimit = 16 << 30

    /// Whether features are kept.
    var isKept: Bool { cache != nil }

    /// Decides whether features are kept, and opens what is there.
    ///
    /// - Parameters:
    ///   - varies: whether samples are varied from epoch to epoch.
    ///   - views: how many varied versions are kept; with 1 the samples are taken as they are.
    init(
        _ program: StageProgram, _ samples: any TrainingSamples, folder: String, keeps: Bool, views: Int, seed: UInt64
    ) throws {
        self.program = program
        self.samples = samples
        self.seed = seed
        self.views = max(views, 1)
        guard keeps, program.isPrefixCostly, !program.boundary.isEmpty, samples.count > 1 else { return }
        // One sample and two tell which axis is the batch; features that have none cannot be kept by sample.
        let one = try program.features(try samples.batch([0], variation: nil))
        let two = try program.features(try samples.batch([0, 1], variation: nil))
        var layouts: [FeatureCache.Layout] = []
        var shared: [String: Tensor] = [:]
        for name in program.boundaryNames {
            if let a = one[name], let b = two[name], a.elementType.isInteger, a.shape.count <= 1, a.count <= 64,
                try a.isIdentical(to: b)
            {
                shared[name] = a
                continue
            }
            guard let a = one[name], let b = two[name], a.shape.first == 1, b.shape.first == 2,
                a.shape.dropFirst() == b.shape.dropFirst(), b.byteCount == 2 * a.byteCount
            else { return }
            layouts.append(
                .init(name: name, type: a.elementType, shape: Array(a.shape.dropFirst()), byteCount: a.byteCount))
        }
        let perSample = layouts.reduce(0) { $0 + $1.byteCount }
        guard let total = Checked.product([perSample, samples.count, self.views]), total <= Self.byteLimit else {
            return
        }
        guard !layouts.isEmpty else { return }
        self.shared = shared
        cache = try FeatureCache(folder: folder, prefix: program.prefixHash, layouts: layouts)
    }

    /// Computes what is not kept yet, and checks what is kept on a few samples.
    ///
    /// - Returns: whether everything is ready; false where `progress` stopped it.
    func prepare(batch: Int, progress: (Int, Int) -> Bool) throws -> Bool {
        guard let cache else { return true }
        for view in 0..<views {
            let keys = try keys(view: view)
            let missing = Set(cache.missing(keys))
            try check(cache, keys, present: keys.indices.filter { !missing.contains($0) }, view: view)
            let isComplete = try cache.fill(
                keys, batch: batch, compute: { try compute($0, view: view) }, progress: progress)
            if !isComplete { return false }
        }
        return true
    }

    /// The features of some samples in an epoch, counted from 0.
    func batch(_ positions: [Int], epoch: Int, varied: Bool) throws -> [String: Tensor] {
        if let cache {
            let keys = try keys(view: varied ? epoch % views : 0)
            return try cache.batch(positions.map { keys[$0] }).merging(shared) { own, _ in own }
        }
        let variation = varied ? Variation(seed: seed, version: epoch) : nil
        return try program.features(try samples.batch(positions, variation: variation))
    }

    /// What is to be learned about the samples that ``batch(_:epoch:varied:)`` gives.
    func targets(_ positions: [Int], epoch: Int, varied: Bool) throws -> Tensor {
        let key: Variation? =
            if cache != nil {
                variation(view: varied ? epoch % views : 0)
            } else {
                varied ? Variation(seed: seed, version: epoch) : nil
            }
        return try samples.targets(positions, variation: key)
    }

    private func variation(view: Int) -> Variation? { views > 1 ? Variation(seed: seed, version: view) : nil }

    private func compute(_ positions: [Int], view: Int) throws -> [String: Tensor] {
        try program.features(try samples.batch(positions, variation: variation(view: view)))
    }

    private func keys(view: Int) throws -> [String] {
        if let known = keys[view] { return known }
        let made = try (0..<samples.count).map { position in
            let hasher = ContentHash.Hasher()
            hasher.update(try samples.contentHash(of: position).description)
            if let variation = variation(view: view) {
                hasher.update("view \(variation.version) seed \(variation.seed) position \(position)")
            }
            return hasher.finish().description
        }
        keys[view] = made
        return made
    }

    /// Recomputes a few kept samples; where one differs by more than rounding, everything is computed anew.
    private func check(_ cache: FeatureCache, _ keys: [String], present: [Int], view: Int) throws {
        guard let first = present.first, let last = present.last else { return }
        let some = Array(Set([first, present[present.count / 2], last])).sorted()
        let kept = try cache.batch(some.map { keys[$0] })
        let computed = try compute(some, view: view)
        for (name, a) in kept {
            guard let b = computed[name], try Self.agree(a, b) else {
                try cache.clear()
                return
            }
        }
    }

    private static func agree(_ a: Tensor, _ b: Tensor) throws -> Bool {
        guard a.elementType == .float32 else { return try a.isIdentical(to: b) }
        let (x, y) = (try a.elements(as: Float.self), try b.elements(as: Float.self))
        guard x.count == y.count else { return false }
        let scale = max(y.reduce(0) { max($0, abs($1)) }, 1e-20)
        return zip(x, y).allSatisfy { $0 == $1 || abs($0 - $1) <= 1e-4 * scale || $0.isNaN && $1.isNaN }
    }
}
