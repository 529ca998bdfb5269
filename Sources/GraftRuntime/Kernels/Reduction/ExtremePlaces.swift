import CNumerics
import GraftCore

/// Where the greatest or least of 32-bit numbers is along the middle axis of (outer, length, inner).
struct ExtremePlaces {
    let outer: Int
    let length: Int
    let inner: Int
    let isMaximum: Bool
    /// Whether the last of equal numbers counts, not the first.
    let takesLast: Bool

    /// So many columns are compared side by side; their best numbers and places stay in the cache.
    private static let block = 2048

    func find(_ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Int64>) {
        let (greatest, last): (Int32, Int32) = (isMaximum ? 1 : 0, takesLast ? 1 : 0)
        if inner == 1 {
            Parallel.forEachRange(outer, grain: max(1, 16384 / length)) { range in
                for row in range {
                    target[row] = Int64(crows_place_in_row(source + row * length, length, greatest, last))
                }
            }
            return
        }
        guard inner > 0 else { return }
        let width = min(inner, Self.block)
        let blocks = (inner + width - 1) / width
        Parallel.forEachRange(outer * blocks, grain: max(1, 16384 / (length * width))) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: width) { best in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: width) { places in
                    for index in range {
                        let (line, first) = (index / blocks, index % blocks * width)
                        let count = min(width, inner - first)
                        crows_place_of_extreme(
                            source + line * length * inner + first, length, inner, count, greatest, last,
                            best.baseAddress, places.baseAddress)
                        let to = target + line * inner + first
                        for column in 0..<count { to[column] = Int64(places[column]) }
                    }
                }
            }
        }
    }
}
