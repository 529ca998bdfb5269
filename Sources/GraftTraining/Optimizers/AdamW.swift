import GraftIR

/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as `torch.optim.AdamW` defines it.
///
/// w ← (1 − ηλ)w; m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − η/(1 − β₁ᵗ) · m/(√v/√(1 − β₂ᵗ) + ε), where t counts
/// the steps that this parameter has taken.
package enum AdamW: Optimizer {
    package static let name = "adamw"
    package static let remark = "Adam with decoupled weight decay"
    package static let options: [NamedOption] = [
        .number("beta1", 0.9, in: 0...0.99999, "how much of the mean gradient is kept"),
        .number("beta2", 0.999, in: 0...0.999999, "how much of the mean square gradient is kept"),
        .number("epsilon", 1e-8, in: 0...1, "what is added to the divisor"),
        .number("weight_decay", 0.01, in: 0...10, "what pulls weights towards 0, times the rate"),
    ]
    package static let operatorName = "AdamWStep"
    package static let slots = ["mean", "square"]
    package static let defaultRate = 1e-3

    package static func attributes(_ values: [String: Double]) -> Attributes {
        [
            "beta1": .float(Float(values["beta1"] ?? 0.9)), "beta2": .float(Float(values["beta2"] ?? 0.999)),
            "epsilon": .float(Float(values["epsilon"] ?? 1e-8)),
        ]
    }
}
