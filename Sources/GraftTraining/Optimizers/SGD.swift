/// Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.
///
/// g ← g + λw; b ← g at a parameter's first step, then μb + g; the update is w ← w − ηb, or w ← w − η(g + μb) with
/// Nesterov's momentum.
public enum SGD: Optimizer {
    public static let name = "sgd"
    public static let remark = "stochastic gradient descent with momentum"
    public static let options: [NamedOption] = [
        .number("momentum", 0.9, in: 0...0.9999, "how much of the last direction is kept"),
        .flag("nesterov", false, "whether the gradient looks one step ahead"),
        .number("weight_decay", 0, in: 0...10, "what pulls weights towards 0, added to the gradient"),
    ]
    public static let operatorName = "SGDStep"
    public static let slots = ["momentum"]
    public static let defaultRate = 1e-2

    public static func attributes(_ values: [String: Double]) -> [(name: String, value: OptimizerAttribute)] {
        [("momentum", .number(values["momentum"] ?? 0.9)), ("nesterov", .flag((values["nesterov"] ?? 0) != 0))]
    }
}
