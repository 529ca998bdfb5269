import GraftCore
import GraftTraining
import OrderedCollections

/// The page about one run: a single HTML file that needs nothing beside it.
public struct ReportPage {
    /// A picture of a sample that was taken for another class.
    public struct Thumbnail: Sendable {
        /// The picture as a PNG, JPEG or WebP file.
        public var bytes: [UInt8]
        /// Its media type, such as `image/png`.
        public var mediaType: String
        /// Where it came from, for the caption.
        public var name: String

        /// A picture.
        public init(bytes: [UInt8], mediaType: String, name: String) {
            self.bytes = bytes
            self.mediaType = mediaType
            self.name = name
        }
    }

    private let report: RunReport
    private let thumbnail: (Int) -> Thumbnail?

    /// The page about a run.
    ///
    /// - Parameter thumbnail: the picture of a validation sample by its position; nil where there is none.
    public init(_ report: RunReport, thumbnail: @escaping (Int) -> Thumbnail? = { _ in nil }) {
        self.report = report
        self.thumbnail = thumbnail
    }

    /// Writes the page.
    ///
    /// - Throws: ``FileError``.
    public func write(to path: String) throws { try AtomicFile.write(text: html(), to: path) }

    /// The page as HTML.
    public func html() -> String {
        var body = "<h1>\(Markup.escape(report.model))</h1>\n" + summary()
        for remark in report.remarks { body += "<p class=\"remark\">\(Markup.escape(remark))</p>\n" }
        body += plots() + stages() + confusion() + classes() + mistakes() + layers()
        body += "<h2>Recipe</h2>\n<pre>\(Markup.escape(report.recipe))</pre>\n"
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>\(Markup.escape(report.model)) – fine-tuning</title>
            <style>\(Self.style)</style></head>
            <body><main>
            \(body)</main></body></html>

            """
    }

    private func summary() -> String {
        var cards: [(String, String)] = []
        if let after = report.after {
            let before = report.before.map { " (before: \(Markup.percent($0.accuracy)))" } ?? ""
            cards.append(("accuracy", Markup.percent(after.accuracy) + before))
            cards.append(("mean F1", Markup.figure(after.macroF1)))
            cards.append(("loss", Markup.figure(after.loss)))
            cards.append(("calibration error", Markup.percent(after.calibrationError)))
        }
        if let retention = report.retention {
            let change = "\(Markup.percent(retention.before.accuracy)) → \(Markup.percent(retention.after.accuracy))"
            cards.append(("accuracy on the old task", change))
        }
        cards.append(("steps", Markup.count(report.steps.last?.step ?? 0)))
        cards.append(
            ("samples", "\(Markup.count(report.trainingSamples)) + \(Markup.count(report.validationSamples))"))
        if report.seconds > 0 { cards.append(("time", Self.duration(report.seconds))) }
        if report.samplesPerSecond > 0 { cards.append(("samples a second", Markup.figure(report.samplesPerSecond))) }
        let items = cards.map { "<div><dt>\(Markup.escape($0.0))</dt><dd>\(Markup.escape($0.1))</dd></div>" }
        return "<dl class=\"cards\">\(items.joined())</dl>\n"
    }

    private func plots() -> String {
        let bands = report.stages.map {
            LinePlot.Band(name: $0.name, from: Double($0.firstStep) - 0.5, to: Double($0.lastStep) + 0.5)
        }
        let raw = report.steps.map { (x: Double($0.step), y: $0.loss) }
        let loss = LinePlot(
            title: "Loss",
            lines: [
                .init(name: "steps", points: raw, style: 0, isFaint: true),
                .init(name: "training", points: Self.smoothed(raw), style: 0),
                .init(
                    name: "validation", points: validation("loss"), style: 1, hasDots: true),
            ], bands: bands)
        let accuracy = LinePlot(
            title: "Validation",
            lines: [
                .init(name: "accuracy", points: validation("accuracy"), style: 1, hasDots: true),
                .init(name: "mean F1", points: validation("macro_f1"), style: 2, hasDots: true),
            ], bands: bands, isPercent: true, range: accuracyRange())
        var names: [String] = []
        for step in report.steps { for name in step.rates.keys where !names.contains(name) { names.append(name) } }
        let rates = LinePlot(
            title: "Learning rates",
            lines: names.enumerated().map { index, name in
                let points = report.steps.compactMap { step in
                    step.rates[name].map { (x: Double(step.step), y: $0) }
                }
                return .init(name: name, points: points, style: index)
            }, bands: bands, isLogarithmic: true)
        let figures = [loss, accuracy, rates].compactMap { $0.svg() }.map { "<figure>\($0)</figure>" }
        return figures.isEmpty ? "" : "<section class=\"plots\">\(figures.joined(separator: "\n"))</section>\n"
    }

    private func validation(_ name: String) -> [(x: Double, y: Double)] {
        report.validations.compactMap { record in record.figures[name].map { (x: Double(record.step), y: $0) } }
    }

    private func accuracyRange() -> ClosedRange<Double> {
        let values = (validation("accuracy") + validation("macro_f1")).map(\.y).filter(\.isFinite)
        let low = values.min() ?? 0
        return max(0, low - (1.02 - low) * 0.08)...1.02
    }

    /// The debiased exponential mean, which shows the course under the noise of single batches.
    static func smoothed(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        let keep = points.count > 400 ? 0.98 : points.count > 60 ? 0.9 : 0.6
        var mean = 0.0
        var weight = 0.0
        return points.compactMap { point in
            guard point.y.isFinite else { return nil }
            mean = keep * mean + (1 - keep) * point.y
            weight = keep * weight + (1 - keep)
            return (point.x, mean / weight)
        }
    }

    private func stages() -> String {
        guard !report.stages.isEmpty else { return "" }
        let rows = report.stages.map { stage -> [String] in
            let best = report.validations.last { $0.step == stage.keptStep && $0.stage == stage.name }
            return [
                Markup.escape(stage.name), Markup.count(stage.trainable),
                "\(Markup.count(stage.firstStep))–\(Markup.count(stage.lastStep))", Markup.count(stage.keptStep),
                best?.figures["accuracy"].map(Markup.percent) ?? "–",
                stage.endedEarly ? "no more improvement" : "full length",
                Markup.escape(stage.featuresFrom ?? "–"),
            ]
        }
        return "<h2>Stages</h2>\n"
            + Self.table(
                ["stage", "trainable", "steps", "kept step", "accuracy there", "end", "features kept at"], rows,
                textColumns: [0, 5, 6])
    }

    private func layers() -> String {
        guard !report.layers.isEmpty else { return "" }
        let total = report.layers.reduce(0) { $0 + $1.parameters }
        let trained = report.layers.reduce(0) { $0 + $1.trained }
        let rows = report.layers.map { row in
            [
                Markup.escape(row.path), Markup.escape(row.kind), Markup.count(row.parameters),
                row.trained == 0 ? "frozen" : row.trained == row.parameters ? "trained" : "in part",
                row.multiplier.map { Markup.figure($0) } ?? "–",
            ]
        }
        return "<h2>Model</h2>\n<p>\(Markup.count(trained)) of \(Markup.count(total)) parameters learned.</p>\n"
            + "<details\(rows.count <= 40 ? " open" : "")><summary>\(rows.count) layers</summary>"
            + Self.table(["layer", "kind", "parameters", "state", "rate factor"], rows, textColumns: [0, 1, 3])
            + "</details>\n"
    }

    static func table(_ header: [String], _ rows: [[String]], textColumns: Set<Int>) -> String {
        func cells(_ values: [String], _ tag: String) -> String {
            values.enumerated().map { index, value in
                "<\(tag)\(textColumns.contains(index) ? " class=\"t\"" : "")>\(value)</\(tag)>"
            }.joined()
        }
        let lines = rows.map { "<tr>\(cells($0, "td"))</tr>" }.joined(separator: "\n")
        return "<div class=\"scroll\"><table><thead><tr>\(cells(header, "th"))</tr></thead>\n<tbody>\(lines)</tbody></table></div>\n"
    }

    private static func duration(_ seconds: Double) -> String {
        if seconds < 90 { return "\(Markup.figure(seconds)) s" }
        let minutes = Int(seconds / 60)
        return minutes < 90 ? "\(minutes) min \(Int(seconds) % 60) s" : "\(minutes / 60) h \(minutes % 60) min"
    }
}

extension ReportPage {
    private func name(_ index: Int) -> String {
        Markup.escape(report.labels.indices.contains(index) ? report.labels[index] : String(index))
    }

    /// The matrix as a table up to 40 classes; beyond that the pairs that are confused most.
    private func confusion() -> String {
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
                html += "<td class=\"\(truth == prediction ? "g" : "r")\(level)\">\(count == 0 ? "·" : String(count))</td>"
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

    private func classes() -> String {
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

    private func mistakes() -> String {
        guard let mistakes = report.after?.mistakes, !mistakes.isEmpty else { return "" }
        var html = "<h2>Greatest mistakes</h2>\n<div class=\"mistakes\">"
        for mistake in mistakes {
            let picture = thumbnail(mistake.sample)
            html += "<figure>"
            if let picture {
                html += "<img alt=\"\" src=\"data:\(Markup.escape(picture.mediaType));base64,"
                html += "\(Base64.encode(picture.bytes))\">"
            }
            html += "<figcaption>\(picture.map { Markup.escape($0.name) } ?? "sample \(mistake.sample)")<br>"
            html += "is <b>\(name(mistake.truth))</b>, taken for <b>\(name(mistake.prediction))</b> "
            html += "(\(Markup.percent(mistake.confidence)))</figcaption></figure>\n"
        }
        return html + "</div>\n"
    }
}

/// Base64 as RFC 4648 defines it.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let a = UInt32(bytes[start])
            let b = start + 1 < bytes.count ? UInt32(bytes[start + 1]) : 0
            let c = start + 2 < bytes.count ? UInt32(bytes[start + 2]) : 0
            let word = a << 16 | b << 8 | c
            for position in 0..<4 {
                let digit = alphabet[Int(word >> UInt32(18 - 6 * position) & 63)]
                result.append(start + position > bytes.count ? UInt8(ascii: "=") : digit)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
