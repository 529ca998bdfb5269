import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftTraining

/// `graft eval`: how good a classifier is on labelled data.
struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measure a classifier on labelled data.",
        discussion: """
            The data is a folder with a folder of pictures for each class, an NPZ file keyed by the model's inputs plus
            labels, or a CSV file.

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
        let evaluation = try Evaluator(source).evaluate(samples, batch: batch) { progress.update($0) }
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
        var lines = [
            "accuracy \(Format.percent(evaluation.accuracy))   top-5 \(Format.percent(evaluation.topFive))   "
                + "macro F1 \(Format.percent(evaluation.macroF1))   loss \(Format.decimal(evaluation.loss, digits: 4))   "
                + "calibration error \(Format.percent(evaluation.calibrationError))", "",
        ]
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

    private static func name(_ index: Int, _ labels: [String]) -> String {
        labels.indices.contains(index) ? labels[index] : "class \(index)"
    }
}
