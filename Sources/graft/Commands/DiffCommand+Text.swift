import GraftCore
import GraftFormats

extension ModelDifference {
    /// The comparison as text.
    var text: String {
        if isEmpty { return "no difference" }
        var lines = interface
        if !operators.isEmpty {
            var table = Table([("operator", .left), ("first", .right), ("second", .right)])
            for entry in operators { table.add([entry.name, "\(entry.first)", "\(entry.second)"]) }
            lines.append(table.text())
        }
        lines.append(
            "weights: \(identicalWeights) the same, \(renamedWeights.count) the same under another name, "
                + "\(changedWeights.count) changed, \(onlyInFirst.count) only in the first, "
                + "\(onlyInSecond.count) only in the second")
        if !changedWeights.isEmpty {
            var table = Table([("changed weight", .left), ("shape", .left), ("largest difference", .right)])
            for pair in changedWeights.sorted(by: { $0.largestDifference > $1.largestDifference }).prefix(40) {
                table.add([pair.first, "\(pair.shape)", Format.scientific(pair.largestDifference)])
            }
            lines.append(table.text())
            if changedWeights.count > 40 { lines.append("and \(changedWeights.count - 40) more") }
        }
        for (title, names) in [("only in the first", onlyInFirst), ("only in the second", onlyInSecond)]
        where !names.isEmpty {
            lines.append("\(title): \(names.prefix(20).joined(separator: ", "))\(names.count > 20 ? ", ..." : "")")
        }
        if !annotations.isEmpty { lines.append("annotations differ: \(annotations.joined(separator: ", "))") }
        return lines.joined(separator: "\n")
    }

    /// The comparison as JSON.
    var json: JSON {
        func pairs(_ pairs: [WeightPair]) -> JSON {
            JSON(
                pairs.map {
                    [
                        "first": JSON($0.first), "second": JSON($0.second), "shape": JSON($0.shape),
                        "largest_difference": JSON($0.largestDifference), "scale": JSON($0.scale),
                    ]
                })
        }
        return [
            "same": JSON(isEmpty),
            "interface": JSON(interface),
            "operators": JSON(
                operators.map { ["name": JSON($0.name), "first": JSON($0.first), "second": JSON($0.second)] }),
            "weights": [
                "identical": JSON(identicalWeights), "renamed": pairs(renamedWeights), "changed": pairs(changedWeights),
                "only_in_first": JSON(onlyInFirst), "only_in_second": JSON(onlyInSecond),
            ],
            "annotations": JSON(annotations),
        ]
    }
}
