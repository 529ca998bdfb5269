import CNumerics
import GraftCore

/// GridSample of images between four pixels each: the pixels and their weights are found once for all channels.
struct BilinearPlanes {
    private let x: RuntimeTensor
    private let grid: RuntimeTensor
    private let y: RuntimeTensor
    private let isAligned: Bool
    private let holdsBorder: Bool

    /// The places that are sampled together: what is known of them stays in the cache beside a plane.
    private static let block = 4096

    /// Nil for other ways of sampling.
    init?(_ sampler: GridSampler, _ x: RuntimeTensor, _ grid: RuntimeTensor, _ y: RuntimeTensor) {
        guard sampler.mode == .linear, sampler.padding != .reflection, x.rank == 4, x.count > 0, y.count > 0,
            x.spatialCount < Int32.max, max(x.shape[2], x.shape[3]) < 1 << 23
        else { return nil }
        (self.x, self.grid, self.y) = (x, grid, y)
        isAligned = sampler.isAligned
        holdsBorder = sampler.padding == .border
    }

    func run() {
        let (channels, plane, points) = (x.shape[1], x.spatialCount, y.spatialCount)
        let (source, places, target) = (x.floats, grid.floats, y.floats)
        let block = min(points, Self.block)
        let blocks = (points + block - 1) / block
        // Channels are shared out too where there are few places.
        let groups = min(channels, max(1, 4 * Parallel.threads / (x.shape[0] * blocks)))
        Parallel.forEachRange(x.shape[0] * blocks * groups) { range in
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * block) { indices in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * block) { weights in
                    for index in range {
                        let (part, group) = (index / groups, index % groups)
                        let (sample, first) = (part / blocks, part % blocks * block)
                        let count = min(block, points - first)
                        cplanes_bilinear_taps(
                            places + (sample * points + first) * 2, count, x.shape[2], x.shape[3], isAligned ? 1 : 0,
                            holdsBorder ? 1 : 0, indices.baseAddress, weights.baseAddress)
                        for channel in (channels * group / groups)..<(channels * (group + 1) / groups) {
                            let image = sample * channels + channel
                            cplanes_sample(
                                source + image * plane, indices.baseAddress, weights.baseAddress,
                                target + (image * points + first), count)
                        }
                    }
                }
            }
        }
    }
}
