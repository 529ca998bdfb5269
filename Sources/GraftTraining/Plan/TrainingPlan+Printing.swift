import GraftCore
import GraftIR
import OrderedCollections

extension TrainingPlan {
    /// The plan as a table that fits a terminal.
    public func table() -> String {
        let graph = layers.model.graph
        let total = layers.parameters.reduce(0) { $0 + (graph.constantTensor(of: $1)?.count ?? 0) }
        var rows: [[String]] = [["stage", "group", "learns", "parameters", "rate", "decay", "length"]]
        for plan in stages {
            for (index, group) in plan.groups.enumerated() {
                let count = group.parameters.reduce(0) { $0 + (graph.constantTensor(of: $1)?.count ?? 0) }
                let length: String
                switch plan.stage.length {
                case .epochs(let epochs):
                    length = plan.steps.map { "\(epochs) epochs, \($0) steps" } ?? "\(epochs) epochs"
                case .steps(let steps): length = "\(steps) steps"
                }
                rows.append([
                    index == 0 ? plan.stage.name : "", group.name, String(group.parameters.count), String(count),
                    YAMLText.number(Self.rounded(plan.stage.rate * group.multiplier)),
                    YAMLText.number(group.weightDecay), index == 0 ? "\(length), \(plan.stage.schedule.yaml)" : "",
                ])
            }
            let percent = total == 0 ? 0 : Int((Double(plan.trainableCount) * 100 / Double(total)).rounded())
            rows.append(["", "", String(plan.trainable.count), "\(plan.trainableCount) (\(percent) %)", "", "", ""])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let numeric: Set<Int> = [2, 3, 4, 5]
        var text =
            rows.map { row in
                row.enumerated().map { column, cell in
                    let space = String(repeating: " ", count: widths[column] - cell.count)
                    return numeric.contains(column) ? space + cell : cell + space
                }.joined(separator: "  ").trimmingSpaces()
            }.joined(separator: "\n") + "\n"
        let normalizations = stages.first?.batchNorm.values.map(\.name) ?? []
        if !normalizations.isEmpty {
            let names = OrderedSet(normalizations).joined(separator: "; ")
            text += "batch normalization: \(names)\n"
        }
        text += augmentationText()
        for remark in remarks { text += "note: \(remark)\n" }
        return text
    }

    /// How samples are varied, and in which stages they are not.
    private func augmentationText() -> String {
        guard !recipe.data.augment.isEmpty else { return "augmentation: none\n" }
        let names = recipe.data.augment.map(\.yaml).joined(separator: ", ")
        let still = recipe.features.views > 1 ? [] : stages.filter(\.keepsFeatures).map(\.stage.name)
        guard !still.isEmpty else { return "augmentation: \(names)\n" }
        return "augmentation: \(names); not in \(still.joined(separator: ", ")), which "
            + "\(still.count == 1 ? "learns" : "learn") from kept features of the samples as they are "
            + "(features.views keeps varied versions, features.cache: false runs everything)\n"
    }

    private static func rounded(_ value: Double) -> Double { Double("\(Float(value))") ?? value }

    /// The plan for a machine.
    public func json() -> JSON {
        let graph = layers.model.graph
        return [
            "steps_per_epoch": stepsPerEpoch.map { JSON($0) } ?? .null, "remarks": JSON(remarks),
            "stages": JSON(
                stages.map { plan -> JSON in
                    [
                        "name": JSON(plan.stage.name), "steps": plan.steps.map { JSON($0) } ?? .null,
                        "trainable": JSON(plan.trainableCount),
                        "keeps_features": JSON(plan.keepsFeatures),
                        "thawed": JSON(plan.thawed.map { graph[$0].name }),
                        "groups": JSON(
                            plan.groups.map { group -> JSON in
                                [
                                    "name": JSON(group.name), "rate": JSON(plan.stage.rate * group.multiplier),
                                    "multiplier": JSON(group.multiplier), "weight_decay": JSON(group.weightDecay),
                                    "parameters": JSON(group.parameters.map { graph[$0].name }),
                                ]
                            }),
                    ]
                }),
            "augment": JSON(recipe.data.augment.map(\.yaml)),
            "recipe": JSON(recipe.yaml()),
        ]
    }
}

extension String {
    fileprivate func trimmingSpaces() -> String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}
