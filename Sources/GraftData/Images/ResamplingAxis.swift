import CNumerics

/// The fixed-point weights of one axis of a resize.
///
/// Pillow's rule (measured against Pillow 13): with `scale` source pixels a target pixel, the filter is stretched by
/// `max(scale, 1)`, sampled at pixel centres, normalised, and rounded to 22 bits behind the point, half away from zero.
struct ResamplingAxis {
    private(set) var starts: [Int32]
    private(set) var counts: [Int32]
    private let stride: Int
    private var high: [Int16]
    private var low: [Int16]

    /// The weights for `outputs` target pixels that cover `range` of `inputs` source pixels.
    init(filter: ResamplingFilter, inputs: Int, range: (from: Float, to: Float), outputs: Int) {
        let from = Double(range.from)
        // The difference is rounded to a Float, as in Pillow.
        let scale = Double(range.to - range.from) / Double(outputs)
        let stretch = max(scale, 1)
        let support = filter.support * stretch
        let taps = Int(support.rounded(.up)) * 2 + 1
        stride = (taps + 7) / 8 * 8
        starts = []
        counts = []
        starts.reserveCapacity(outputs)
        counts.reserveCapacity(outputs)
        high = [Int16](repeating: 0, count: outputs * stride)
        low = [Int16](repeating: 0, count: outputs * stride)
        let inverse = 1 / stretch
        var weights = [Double](repeating: 0, count: taps)
        for output in 0..<outputs {
            let centre = from + (Double(output) + 0.5) * scale
            // Truncation toward zero, then clamping, as in C.
            let first = max(Int(centre - support + 0.5), 0)
            let last = min(Int(centre + support + 0.5), inputs)
            let count = min(last - first, taps)
            var sum = 0.0
            for i in 0..<count {
                weights[i] = filter.value((Double(i + first) - centre + 0.5) * inverse)
                sum += weights[i]
            }
            starts.append(Int32(first))
            counts.append(Int32(count))
            for i in 0..<count {
                let weight = sum != 0 ? weights[i] / sum : weights[i]
                let scaled = weight * 4_194_304
                let fixed = Int32(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
                high[output * stride + i] = Int16(truncatingIfNeeded: fixed >> 12)
                low[output * stride + i] = Int16(fixed & 0xFFF)
            }
        }
    }

    /// The number of target pixels.
    var outputs: Int { starts.count }

    /// The source pixels that any output needs.
    var used: Range<Int> {
        guard let first = starts.first, let last = starts.last, let count = counts.last else { return 0..<0 }
        return Int(first)..<Int(last + count)
    }

    /// The same weights for a source whose first `offset` pixels are left out.
    func shifted(by offset: Int) -> ResamplingAxis {
        var result = self
        for i in result.starts.indices { result.starts[i] -= Int32(offset) }
        return result
    }

    /// Calls `body` with the form that the inner loops take.
    func withAxis(_ body: (UnsafePointer<cresample_axis>) -> Void) {
        starts.withUnsafeBufferPointer { starts in
            counts.withUnsafeBufferPointer { counts in
                high.withUnsafeBufferPointer { high in
                    low.withUnsafeBufferPointer { low in
                        var axis = cresample_axis(
                            outputs: starts.count, stride: stride, starts: starts.baseAddress,
                            counts: counts.baseAddress, high: high.baseAddress, low: low.baseAddress)
                        withUnsafePointer(to: &axis, body)
                    }
                }
            }
        }
    }
}
