import GraftIR

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.
///
/// g ← g + λw; b ← g at a parameter's first step, then μb + g; the update is w ← w − ηb, or w ← w − η(g + μb) with
/// Nesterov's momentum.
package enum SGD: Optimizer {
    package static let name = "sgd"
    package static let remark = "stochastic gradient descent with momentum"
    package static let options: [NamedOption] = [
        .number("momentum", 0.9, in: 0...0.9999, "how much of the last direction is kept"),
        .flag("nesterov", false, "whether the gradient looks one step ahead"),
        .number("weight_decay", 0, in: 0...10, "what pulls weights towards 0, added to the gradient"),
    ]
    package static let operatorName = "SGDStep"
    package static let slots = ["momentum"]
    package static let defaultRate = 1e-2

    package static func attributes(_ values: [String: Double]) -> Attributes {
        [
            "momentum": .float(Float(values["momentum"] ?? 0.9)),
            "nesterov": .int((values["nesterov"] ?? 0) != 0 ? 1 : 0),
        ]
    }
}
