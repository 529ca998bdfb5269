import GraftCore
import GraftData
import GraftTraining
import OrderedCollections

/// The page about one run: a single HTML file that needs nothing beside it.
public struct ReportPage {
    /// A picture of a sample that was taken for another class.
    public struct Thumbnail: Sendable {
        /// The picture as a file that browsers show.
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

    let report: RunReport
    let thumbnail: (Int) -> Thumbnail?

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
            cards.append(
                (after.kind == .pixels ? "pixel accuracy" : "accuracy", Markup.percent(after.accuracy) + before))
            cards.append(("mean F1", Markup.figure(after.macroF1)))
            cards.append(("loss", Markup.figure(after.loss)))
            switch after.kind {
            case .classes: cards.append(("calibration error", Markup.percent(after.calibrationError)))
            case .pixels: cards.append(("mean IoU", Markup.percent(after.meanIoU)))
            case .labels:
                cards.append(
                    ("mean average precision", Markup.percent(after.labels?.meanAveragePrecision ?? 0)))
            }
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
        return
            "<div class=\"scroll\"><table><thead><tr>\(cells(header, "th"))</tr></thead>\n<tbody>\(lines)</tbody></table></div>\n"
    }

    private static func duration(_ seconds: Double) -> String {
        if seconds < 90 { return "\(Markup.figure(seconds)) s" }
        let minutes = Int(seconds / 60)
        return minutes < 90 ? "\(minutes) min \(Int(seconds) % 60) s" : "\(minutes / 60) h \(minutes % 60) min"
    }
}
