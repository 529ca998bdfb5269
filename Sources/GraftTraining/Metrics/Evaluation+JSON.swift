import GraftCore
import GraftData
import OrderedCollections

extension Evaluation {
    /// The figures for a machine; classes are named where names are given.
    public func json(labels names: [String] = []) -> JSON {
        func name(_ index: Int) -> JSON { JSON(names.indices.contains(index) ? names[index] : String(index)) }
        var result: JSON = ["samples": JSON(count), "task": JSON(kind.rawValue)]
        for (key, value) in figures { result[key] = JSON(value) }
        if let labels {
            result["classes"] = JSON(
                (0..<labels.labels).map { index -> JSON in
                    [
                        "class": name(index), "precision": JSON(labels.precision(index)),
                        "recall": JSON(labels.recall(index)), "f1": JSON(labels.f1(index)),
                        "average_precision": labels.averagePrecision(index).map { JSON($0) } ?? .null,
                        "support": JSON(labels.counts[index].hit + labels.counts[index].missed),
                    ]
                })
            return result
        }
        result["classes"] = JSON(
            (0..<confusion.classes).map { index -> JSON in
                let figures = confusion.figures(index)
                var entry: JSON = [
                    "class": name(index), "precision": JSON(figures.precision), "recall": JSON(figures.recall),
                    "f1": JSON(figures.f1), "support": JSON(figures.support),
                ]
                if kind == .pixels { entry["iou"] = confusion.iou(index).map { JSON($0) } ?? .null }
                return entry
            })
        result["confusion"] = JSON(
            (0..<confusion.classes).map { truth in
                JSON((0..<confusion.classes).map { confusion[truth, $0] })
            })
        return result
    }
}
