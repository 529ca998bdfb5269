#if canImport(Glibc)
import Glibc
#endif

/// A drop by a factor every few epochs.
///
/// In epoch e (counted from 0): factor^⌊e/every⌋, as PyTorch's `StepLR`.
package struct StepSchedule: Schedule {
    package static let name = "step"
    package static let options: [NamedOption] = [
        .count("every", 1, in: 1...100_000, "the number of epochs between two drops"),
        .number("factor", 0.1, in: 0...1, "what the rate is multiplied by at a drop"),
    ]
    package static let remark = "a drop every few epochs"

    private let every: Int
    private let factor: Double

    package init(_ values: [String: Double]) {
        every = Int(values["every"] ?? 1)
        factor = values["factor"] ?? 0.1
    }

    package func factor(step: Int, of total: Int, stepsPerEpoch: Int) -> Double {
        pow(factor, Double(step / max(every * stepsPerEpoch, 1)))
    }
}
