import GraftCore

extension GridSampler {
    /// The gradients of image and grid from that of the samples: (dY, X, grid) -> (dX, dGrid).
    func runGradient(_ context: KernelContext) throws {
        let (dy, x, grid) = (
            try context.plain(0, .float32), try context.plain(1, .float32), try context.plain(2, .float32)
        )
        let rank = x.rank - 2
        guard rank >= 1, rank <= 3, grid.rank == x.rank, grid.shape[grid.rank - 1] == rank,
            grid.shape[0] == x.shape[0], dy.shape == Array(x.shape[..<2]) + Array(grid.shape[1..<(grid.rank - 1)])
        else {
            throw KernelFailure("dY, X and grid of shapes \(dy.shape), \(x.shape) and \(grid.shape)")
        }
        let dx = try context.output(0, .float32, x.shape)
        let dGrid = try context.output(1, .float32, grid.shape)
        dx.floats.update(repeating: 0, count: dx.count)
        dGrid.floats.update(repeating: 0, count: dGrid.count)
        guard dy.count > 0, x.count > 0 else { return }
        let (channels, plane, points) = (x.shape[1], x.spatialCount, dy.spatialCount)
        let spatial = Array(x.shape[2...])
        // A thread owns whole planes of dX.
        Parallel.forEachRange(x.shape[0] * channels, grain: max(1, 4096 / points)) { range in
            for index in range {
                let places = grid.floats + index / channels * points * rank
                let (from, to) = (dy.floats + index * points, dx.floats + index * plane)
                for point in 0..<points {
                    forEachTap(places + point * rank, spatial) { offset, weight, _ in to[offset] += weight * from[point]
                    }
                }
            }
        }
        guard mode != .nearest else { return }
        Parallel.forEachRange(x.shape[0] * points, grain: max(1, 1024 / channels)) { range in
            for index in range {
                let (sample, point) = (index / points, index % points)
                let to = dGrid.floats + index * rank
                forEachTap(grid.floats + index * rank, spatial) { offset, _, slopes in
                    var sum: Float = 0
                    for channel in 0..<channels {
                        let row = sample * channels + channel
                        sum += dy.floats[row * points + point] * x.floats[row * plane + offset]
                    }
                    for axis in 0..<rank { to[rank - 1 - axis] += sum * slopes[axis] }
                }
            }
        }
    }

    /// Calls `body` for each element that a place reads: where it is, its weight, and the derivatives of the weight by
    /// the coordinates in the order of the axes.
    @inline(__always)
    private func forEachTap(
        _ place: UnsafePointer<Float>, _ spatial: [Int], _ body: (Int, Float, InlineArray<3, Float>) -> Void
    ) {
        let rank = spatial.count
        let first = AxisTaps(place[rank - 1], spatial[0], self)
        let second = rank > 1 ? AxisTaps(place[rank - 2], spatial[1], self) : nil
        let third = rank > 2 ? AxisTaps(place[rank - 3], spatial[2], self) : nil
        for i in 0..<first.count where first.places[i] >= 0 {
            guard let second else {
                body(first.places[i], first.weights[i], [first.slopes[i], 0, 0])
                continue
            }
            for j in 0..<second.count where second.places[j] >= 0 {
                let offset = first.places[i] * spatial[1] + second.places[j]
                let (a, b) = (first.weights[i], second.weights[j])
                guard let third else {
                    body(offset, a * b, [first.slopes[i] * b, a * second.slopes[j], 0])
                    continue
                }
                for k in 0..<third.count where third.places[k] >= 0 {
                    let c = third.weights[k]
                    body(
                        offset * spatial[2] + third.places[k], a * b * c,
                        [first.slopes[i] * b * c, a * second.slopes[j] * c, a * b * third.slopes[k]])
                }
            }
        }
    }
}
