import GraftCore
import GraftIR

/// NonMaxSuppression: the best boxes of each class that do not overlap better ones.
enum NonMaxSuppressionKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "NonMaxSuppression", opsets: 10...KernelRegistry.newestOpset,
                prepare: { $0.attributes.int("center_point_box") ?? 0 != 0 }, run: { try run($1, isCentered: $0) })
        ]
    }

    /// A box by its corners.
    private struct Box {
        let (left, top, right, bottom): (Float, Float, Float, Float)
        let area: Float

        init(_ values: UnsafePointer<Float>, isCentered: Bool) {
            if isCentered {
                left = values[0] - values[2] / 2
                right = values[0] + values[2] / 2
                top = values[1] - values[3] / 2
                bottom = values[1] + values[3] / 2
            } else {
                left = min(values[1], values[3])
                right = max(values[1], values[3])
                top = min(values[0], values[2])
                bottom = max(values[0], values[2])
            }
            area = (right - left) * (bottom - top)
        }

        /// Whether the common part is more than a fraction of what both cover.
        @inline(__always) func overlaps(_ other: Box, _ threshold: Float) -> Bool {
            let width = min(right, other.right) - max(left, other.left)
            let height = min(bottom, other.bottom) - max(top, other.top)
            guard width > 0, height > 0, area > 0, other.area > 0 else { return false }
            let common = width * height
            let all = area + other.area - common
            return common > 0 && all > 0 && common / all > threshold
        }
    }

    private static func run(_ context: KernelContext, isCentered: Bool) throws {
        func single(_ index: Int) throws -> Float? {
            guard context.has(index), try context.input(index).count > 0 else { return nil }
            return try context.numbers(index)[0]
        }
        let boxes = try context.numbers(of: context.input(0), as: Float.self, .float32)
        let scores = try context.numbers(of: context.input(1), as: Float.self, .float32)
        guard boxes.rank == 3, scores.rank == 3, boxes.shape[2] == 4, boxes.shape[0] == scores.shape[0],
            boxes.shape[1] == scores.shape[2]
        else { throw KernelFailure("boxes of shape \(boxes.shape) and scores of shape \(scores.shape)") }
        let limit = max(0, try context.optionalIntegers(2)?.first ?? 0)
        let overlap = try single(3) ?? 0
        let least = try single(4)
        let (batch, classes, count) = (boxes.shape[0], scores.shape[1], boxes.shape[1])
        guard limit > 0, count > 0 else {
            try context.output(0, .int64, [0, 3])
            return
        }
        var corners: [Box] = []
        corners.reserveCapacity(batch * count)
        for index in 0..<batch * count { corners.append(Box(boxes.floats + 4 * index, isCentered: isCentered)) }
        var chosen = [[Int32]](repeating: [], count: batch * classes)
        let all = scores.floats
        corners.withUnsafeBufferPointer { corners in
            chosen.withUnsafeMutableBufferPointer { chosen in
                // Each thread writes the lists of its own classes.
                nonisolated(unsafe) let chosen = chosen
                Parallel.forEachRange(batch * classes, grain: max(1, 4096 / count)) { range in
                    for index in range {
                        let first = index / classes * count
                        let own = UnsafeBufferPointer(rebasing: corners[first..<first + count])
                        chosen[index] = select(all + index * count, own, limit: limit, overlap: overlap, least: least)
                    }
                }
            }
        }
        let y = try context.output(0, .int64, [chosen.reduce(0) { $0 + $1.count }, 3])
        var target = y.int64s
        for (index, list) in chosen.enumerated() {
            for box in list {
                target[0] = Int64(index / classes)
                target[1] = Int64(index % classes)
                target[2] = Int64(box)
                target += 3
            }
        }
    }

    private static func select(
        _ scores: UnsafePointer<Float>, _ boxes: UnsafeBufferPointer<Box>, limit: Int, overlap: Float, least: Float?
    ) -> [Int32] {
        var candidates: [Int32] = []
        for index in boxes.indices where least.map({ scores[index] > $0 }) ?? true {
            candidates.append(Int32(truncatingIfNeeded: index))
        }
        candidates.sort { a, b in
            let (x, y) = (scores[Int(a)], scores[Int(b)])
            return x > y || (x == y && a < b)
        }
        var result: [Int32] = []
        for candidate in candidates {
            if result.count >= limit { break }
            let box = boxes[Int(candidate)]
            if result.contains(where: { boxes[Int($0)].overlaps(box, overlap) }) { continue }
            result.append(candidate)
        }
        return result
    }
}
