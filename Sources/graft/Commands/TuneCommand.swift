import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftReport
import GraftTraining

/// `graft tune`: fine-tuning in stages.
struct TuneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune",
        abstract: "Fine-tune a classifier in stages on your own data.",
        discussion: """
            The run folder holds the complete recipe, metrics (CSV and JSON lines), checkpoints and a report page. Ctrl-C
            saves and ends with status 130; --resume goes on bit for bit, also after a crash. Without -o the plan is shown.

              graft tune flowers.onnx --data photos/ --recipe gradual -o tuned.onnx
              graft tune flowers.onnx --data photos/ -o tuned.onnx --resume
            """)

    @OptionGroup var options: TuningOptions

    @Option(name: .long, help: "The folder of the run; beside the output where not given.")
    var runDir: String?

    @Flag(name: .long, help: "Go on from the last checkpoint of the run folder, or start where there is none.")
    var resume = false

    @Option(name: .long, help: "With --old-data: the model as it was, to see what it forgets.")
    var oldModel: String?

    @Option(name: .long, help: "Labelled data of the task that the model came with.")
    var oldData: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if (oldModel == nil) != (oldData == nil) { throw ValidationError("--old-model and --old-data go together.") }
    }

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let setup = try TuningSetup(options, limits: limits, needsData: output.output != nil)
        guard let target = output.output, let training = setup.training else {
            Console.output(try setup.plan().table())
            Console.note("nothing was trained; -o FILE trains and writes the result")
            return
        }
        // The format is settled before hours of work.
        let format = try ModelFormats.format(forOutput: target, named: output.to)
        try format.checkWritable(setup.model)
        Interruption.install()
        let folder = runDir ?? "\(Self.stem(target)).run"
        var tuning = FineTuning(
            setup.model, recipe: setup.recipe, training: training, validation: setup.validation, folder: folder)
        tuning.name = options.model
        if let oldModel, let oldData {
            let old = try ModelFormats.read(path: oldModel, limits: limits)
            let contract = try ModelContract(old, options: options.preprocessing)
            let data = try contract.open(oldData, limits: limits)
            tuning.retention = Retention(model: old, samples: contract.samples(data))
        }
        Console.note("preprocessing: \(setup.contract.reason)")
        Console.note("\(training.count) samples to learn from, \(setup.validation?.count ?? 0) to measure on")
        for remark in setup.remarks { Console.note(remark) }
        let monitor = TuningMonitor()
        let outcome: FineTuning.Outcome
        do {
            outcome = try tuning.run(resumes: resume) { monitor.handle($0) }
        } catch TrainingError.nothingToResume(let folder) {
            // A run that was ended before its first checkpoint loses nothing by starting anew.
            Console.note("\(folder) holds no checkpoint yet; the run starts from the beginning")
            outcome = try tuning.run { monitor.handle($0) }
        }
        monitor.finish()
        switch outcome {
        case .interrupted(let step):
            Console.note("interrupted after step \(step); everything is saved in \(folder); go on with --resume")
            throw ExitCode(ExitStatus.interrupted.rawValue)
        case .finished(let model, let report):
            try finish(model, report, format: format, target: target, folder: folder, setup: setup, limits: limits)
        }
    }

    private func finish(
        _ model: Model, _ report: RunReport, format: any ModelFormat.Type, target: String, folder: String,
        setup: TuningSetup, limits: Limits
    ) throws {
        let export = VerifiedExport(format: format, isVerified: output.verify, limits: limits)
        let written = try export.write(model, to: target)
        let pictures = setup.validation
        let page = ReportPage(report) { sample in
            pictures?.picture(of: sample).map {
                ReportPage.Thumbnail(bytes: $0.bytes, mediaType: $0.mediaType, name: $0.name)
            }
        }
        try page.write(to: "\(folder)/report.html")
        if common.json {
            var json = report.json()
            json["output"] = JSON(target)
            json["check"] = written.json
            json["run_folder"] = JSON(folder)
            Console.output(json.text(.indented))
            return
        }
        var table = Table([("", .left), ("before", .right), ("after", .right)])
        func row(_ name: String, _ before: Evaluation?, _ after: Evaluation?, _ figure: (Evaluation) -> String) {
            table.add([name, before.map(figure) ?? "", after.map(figure) ?? ""])
        }
        let isDense = report.after?.kind == .pixels
        row(isDense ? "validation pixel accuracy" : "validation accuracy", report.before, report.after) {
            Format.percent($0.accuracy)
        }
        if isDense { row("validation mean IoU", report.before, report.after) { Format.percent($0.meanIoU) } }
        if report.after?.kind == .labels {
            row("validation mean average precision", report.before, report.after) {
                Format.percent($0.labels?.meanAveragePrecision ?? 0)
            }
        }
        row("validation loss", report.before, report.after) { Format.decimal($0.loss, digits: 4) }
        if let retention = report.retention {
            row("old task accuracy", retention.before, retention.after) { Format.percent($0.accuracy) }
        }
        Console.output(table.text())
        Console.note("\(target): \(written.summary)")
        Console.note("report: \(folder)/report.html")
    }

    private static func stem(_ path: String) -> String {
        guard let dot = path.lastIndex(of: "."), !path[dot...].contains("/") else { return path }
        return String(path[..<dot])
    }
}

/// Shows a run on standard error: a moving line for a person, a line a stage and validation otherwise.
final class TuningMonitor {
    private var progress: Progress?
    private var features: Progress?
    private var stage = ""

    /// Shows an event.
    func handle(_ event: TrainingEvent) {
        switch event {
        case .stage(let index, let count, let name, let trainable, let steps):
            finish()
            stage = name
            Console.note(
                "stage \(index + 1)/\(count) \(name): \(Format.count(trainable)) parameters learn, \(steps) steps")
        case .features(let done, let total):
            if features == nil { features = Progress("features", total: total, unit: "samples") }
            features?.update(done)
            if done >= total {
                features?.finish()
                features = nil
            }
        case .step(let step):
            if progress == nil { progress = Progress(stage, total: step.stepsInStage, unit: "steps") }
            progress?.update(
                step.stepInStage,
                note: "· loss \(Format.decimal(step.record.loss, digits: 4)) · "
                    + "\(Format.decimal(step.samplesPerSecond, digits: 0)) samples/s · "
                    + "\(Format.duration(step.secondsLeft)) in all")
        case .validation(let record):
            progress?.finish()
            let figures = record.figures.map { "\($0.key) \(Format.decimal($0.value, digits: 4))" }
            Console.note("  epoch \(record.epoch): \(figures.joined(separator: ", "))\(record.isBest ? " ← best" : "")")
        case .stageEnd(let name, let kept, let early):
            finish()
            Console.note("  \(name) \(early ? "stopped early" : "done"); the weights of step \(kept) are kept")
        case .checkpoint: break
        case .remark(let text): Console.note(text)
        }
    }

    /// Removes the moving line.
    func finish() {
        progress?.finish()
        progress = nil
        features?.finish()
        features = nil
    }
}
