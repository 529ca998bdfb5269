import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftTraining
import OrderedCollections

/// `graft eval`: how good a classifier is on labelled data.
struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measure a classifier on labelled data.",
        discussion: """
            The data is a folder with a folder of pictures for each class, a folder with images/ and masks/ (PNG files of
            class numbers, 255 does not count), an NPZ file keyed by the model's inputs plus labels, or a CSV file.
            Labels of shape (N, classes) hold 0 and 1 for each class, those of shape (N, H, W) a class for each pixel.

              graft eval flowers.onnx --data photos-test/
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "The labelled data.")
    var data: String

    @Option(name: .long, help: "How many samples run at once.")
    var batch = 32

    @Flag(name: .long, help: "Leave out pictures that cannot be read.")
    var skipUnusable = false

    @OptionGroup var preprocessing: PreprocessingOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let source = try ModelFormats.read(path: model, limits: limits)
        let contract = try ModelContract(source, options: preprocessing)
        let dataSet = try contract.open(data, skipping: skipUnusable, limits: limits)
        if !common.json { Console.note("preprocessing: \(contract.reason)") }
        let samples = contract.samples(dataSet)
        var progress = Progress("eval", total: samples.count, unit: "samples")
        let start = Progress.now()
        let evaluator = try Evaluator(source, targets: samples.targetKind)
        let evaluation = try evaluator.evaluate(samples, batch: batch) { progress.update($0) }
        progress.finish()
        let rate = Double(samples.count) / max(Progress.now() - start, 1e-9)
        let labels = contract.labels ?? dataSet.classNames
        if common.json {
            var json = evaluation.json(labels: labels)
            json["samples_per_second"] = JSON(rate)
            json["preprocessing"] = contract.preprocessing?.json ?? .null
            Console.output(json.text(.indented))
        } else {
            Console.output(Self.text(evaluation, labels: labels))
            Console.note("\(samples.count) samples, \(Format.decimal(rate, digits: 1)) a second")
        }
    }

    /// The figures as text.
    static func text(_ evaluation: Evaluation, labels: [String]) -> String {
        var lines = [headline(evaluation), ""]
        if let figures = evaluation.labels {
            lines.append(table(figures, labels))
            return lines.joined(separator: "\n")
        }
        if evaluation.kind == .pixels {
            lines.append(pixelTable(evaluation.confusion, labels))
            return lines.joined(separator: "\n")
        }
        let confusion = evaluation.confusion
        let present = (0..<confusion.classes).filter {
            confusion.support($0) > 0 || confusion.predicted($0) > 0
        }
        var table = Table([
            ("class", .left), ("samples", .right), ("precision", .right), ("recall", .right), ("F1", .right),
            ("most mistaken for", .left),
        ])
        for index in present.prefix(60) {
            let figures = confusion.figures(index)
            let worst = present.filter { $0 != index }.max { confusion[index, $0] < confusion[index, $1] }
            let mistaken = worst.flatMap {
                confusion[index, $0] > 0 ? "\(name($0, labels)) (\(confusion[index, $0]))" : nil
            }
            table.add([
                name(index, labels), "\(figures.support)", Format.percent(figures.precision),
                Format.percent(figures.recall), Format.percent(figures.f1), mistaken ?? "",
            ])
        }
        lines.append(table.text())
        if present.count > 1 && present.count <= 12 {
            var matrix = Table(
                [("true \\ predicted", .left)] + present.map { (name($0, labels), Table.Alignment.right) })
            for row in present { matrix.add([name(row, labels)] + present.map { "\(confusion[row, $0])" }) }
            lines += ["", matrix.text(width: max(80, Console.width))]
        }
        return lines.joined(separator: "\n")
    }

    /// The figures of the whole in a line.
    private static func headline(_ evaluation: Evaluation) -> String {
        let titles = [
            "accuracy": evaluation.kind == .pixels ? "pixel accuracy" : "accuracy", "top5": "top-5",
            "macro_f1": "macro F1", "calibration_error": "calibration error", "mean_iou": "mean IoU",
            "exact_match": "all labels right", "mean_ap": "mean average precision",
        ]
        return evaluation.figures.map { key, value in
            key == "loss"
                ? "loss \(Format.decimal(value, digits: 4))" : "\(titles[key] ?? key) \(Format.percent(value))"
        }.joined(separator: "   ")
    }

    private static func pixelTable(_ confusion: ConfusionMatrix, _ labels: [String]) -> String {
        var table = Table([
            ("class", .left), ("pixels", .right), ("IoU", .right), ("precision", .right), ("recall", .right),
        ])
        for index in 0..<confusion.classes {
            guard let iou = confusion.iou(index) else { continue }
            let figures = confusion.figures(index)
            table.add([
                name(index, labels), Format.count(figures.support), Format.percent(iou),
                Format.percent(figures.precision), Format.percent(figures.recall),
            ])
        }
        return table.text()
    }

    private static func table(_ figures: LabelFigures, _ labels: [String]) -> String {
        var table = Table([
            ("class", .left), ("samples", .right), ("average precision", .right), ("precision", .right),
            ("recall", .right), ("F1", .right),
        ])
        for index in 0..<figures.labels {
            table.add([
                name(index, labels), "\(figures.counts[index].hit + figures.counts[index].missed)",
                figures.averagePrecision(index).map { Format.percent($0) } ?? "",
                Format.percent(figures.precision(index)), Format.percent(figures.recall(index)),
                Format.percent(figures.f1(index)),
            ])
        }
        return table.text()
    }

    private static func name(_ index: Int, _ labels: [String]) -> String {
        labels.indices.contains(index) ? labels[index] : "class \(index)"
    }
}
