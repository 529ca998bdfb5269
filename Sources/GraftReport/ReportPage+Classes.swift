import GraftTraining

extension ReportPage {
    private func name(_ index: Int) -> String {
        Markup.escape(report.labels.indices.contains(index) ? report.labels[index] : String(index))
    }

    /// The matrix as a table up to 40 classes; beyond that the pairs that are confused most.
    func confusion() -> String {
        guard let matrix = report.after?.confusion, matrix.total > 0 else { return "" }
        let classes = matrix.classes
        guard classes <= 40 else { return confusedPairs(matrix) }
        var html = "<h2>Confusion</h2>\n<p>A row is a true class, a column what it was taken for.</p>\n"
        html += "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>"
        html += (0..<classes).map { "<th><span>\(name($0))</span></th>" }.joined() + "</tr></thead>\n<tbody>"
        for truth in 0..<classes {
            let support = matrix.support(truth)
            html += "<tr><th class=\"t\">\(name(truth))</th>"
            for prediction in 0..<classes {
                let count = matrix[truth, prediction]
                let part = support == 0 ? 0 : Double(count) / Double(support)
                let level = count == 0 ? 0 : max(1, Int((part * 9).rounded(.up)))
                html +=
                    "<td class=\"\(truth == prediction ? "g" : "r")\(level)\">\(count == 0 ? "·" : String(count))</td>"
            }
            html += "</tr>\n"
        }
        return html + "</tbody></table></div>\n"
    }

    private func confusedPairs(_ matrix: ConfusionMatrix) -> String {
        var pairs: [(truth: Int, prediction: Int, count: Int)] = []
        for truth in 0..<matrix.classes {
            for prediction in 0..<matrix.classes where truth != prediction && matrix[truth, prediction] > 0 {
                pairs.append((truth, prediction, matrix[truth, prediction]))
            }
        }
        pairs.sort { ($1.count, $0.truth, $0.prediction) < ($0.count, $1.truth, $1.prediction) }
        let rows = pairs.prefix(40).map { [name($0.truth), name($0.prediction), String($0.count)] }
        return "<h2>Confusion</h2>\n<p>The classes that are confused most.</p>\n"
            + Self.table(["is", "was taken for", "samples"], Array(rows), textColumns: [0, 1])
    }

    func classes() -> String {
        guard let matrix = report.after?.confusion, matrix.total > 0 else { return "" }
        let rows = (0..<matrix.classes).map { index in
            let figures = matrix.figures(index)
            return [
                name(index), Markup.percent(figures.precision), Markup.percent(figures.recall),
                Markup.percent(figures.f1), Markup.count(figures.support),
            ]
        }
        return "<h2>Classes</h2>\n<details\(rows.count <= 40 ? " open" : "")><summary>\(rows.count) classes</summary>"
            + Self.table(["class", "precision", "recall", "F1", "samples"], rows, textColumns: [0]) + "</details>\n"
    }

    func mistakes() -> String {
        guard let mistakes = report.after?.mistakes, !mistakes.isEmpty else { return "" }
        var html = "<h2>Greatest mistakes</h2>\n<div class=\"mistakes\">"
        for mistake in mistakes {
            let picture = thumbnail(mistake.sample)
            html += "<figure>"
            if let picture {
                html += "<img alt=\"\" src=\"data:\(Markup.escape(picture.mediaType));base64,"
                html += "\(Self.base64(picture.bytes))\">"
            }
            html += "<figcaption>\(picture.map { Markup.escape($0.name) } ?? "sample \(mistake.sample)")<br>"
            html += "is <b>\(name(mistake.truth))</b>, taken for <b>\(name(mistake.prediction))</b> "
            html += "(\(Markup.percent(mistake.confidence)))</figcaption></figure>\n"
        }
        return html + "</div>\n"
    }
}
