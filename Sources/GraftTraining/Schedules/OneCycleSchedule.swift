#if canImport(Glibc)
import Glibc
#endif

/// One rise and one fall, both along half a cosine (Smith: "Super-convergence", arXiv:1708.07120).
///
/// The bounds are those of PyTorch's `OneCycleLR`: the rate starts at rate/divisor, reaches the rate at step
/// peak·T − 1, and ends at step T − 1 at rate/(divisor·final_divisor). Momentum is not cycled.
package struct OneCycleSchedule: Schedule {
    package static let name = "one-cycle"
    package static let options: [NamedOption] = [
        .number("peak", 0.3, in: 0.01...0.99, "the fraction of the steps on which the rate rises"),
        .number("divisor", 25, in: 1...1e6, "the first rate is the rate divided by this"),
        .number("final_divisor", 1e4, in: 1...1e9, "the last rate is the first rate divided by this"),
    ]
    package static let ownsWarmup = true
    package static let remark = "a rise to the rate and a longer fall to almost nothing"

    private let peak: Double
    private let divisor: Double
    private let finalDivisor: Double

    package init(_ values: [String: Double]) {
        peak = values["peak"] ?? 0.3
        divisor = values["divisor"] ?? 25
        finalDivisor = values["final_divisor"] ?? 1e4
    }

    package func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double {
        let top = max(peak * Double(total) - 1, 0)
        let end = Double(total - 1)
        let first = 1 / divisor
        let last = first / finalDivisor
        let step = Double(step)
        if step <= top { return top > 0 ? Self.curve(first, 1, step / top) : 1 }
        return end > top ? Self.curve(1, last, min((step - top) / (end - top), 1)) : last
    }

    /// Half a cosine from `a` at 0 to `b` at 1.
    private static func curve(_ a: Double, _ b: Double, _ position: Double) -> Double {
        b + (a - b) / 2 * (1 + cos(Double.pi * position))
    }
}
