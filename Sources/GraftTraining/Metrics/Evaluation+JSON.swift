import GraftCore

extension Evaluation {
    /// The figures for a machine; classes are named where names are given.
    public func json(labels: [String] = []) -> JSON {
        let classes = (0..<confusion.classes).map { index -> JSON in
            let figures = confusion.figures(index)
            return [
                "class": JSON(labels.indices.contains(index) ? labels[index] : String(index)),
                "precision": JSON(figures.precision), "recall": JSON(figures.recall), "f1": JSON(figures.f1),
                "support": JSON(figures.support),
            ]
        }
        let rows = (0..<confusion.classes).map { truth in
            JSON((0..<confusion.classes).map { confusion[truth, $0] })
        }
        return [
            "samples": JSON(count), "loss": JSON(loss), "accuracy": JSON(accuracy), "top5": JSON(topFive),
            "macro_f1": JSON(macroF1), "calibration_error": JSON(calibrationError), "classes": JSON(classes),
            "confusion": JSON(rows),
        ]
    }
}
