import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import OrderedCollections

/// Ends a command that changes a model: shows what would change, or writes the changed model.
struct SurgeryResult {
    let input: String
    let source: Model
    let patch: Patch

    /// Shows the change, and writes the model where `-o` says so.
    ///
    /// - Parameter extra: more for the JSON report.
    func finish(_ options: OutputOptions, common: CommonOptions, extra: JSON = [:], note: String = "") throws {
        var model = source
        try model.apply(patch)
        var report: JSON = ["input": JSON(input), "patch": patch.json]
        for (key, value) in extra.object ?? [:] { report[key] = value }
        if let output = options.output {
            let format = try ModelFormats.format(forOutput: output, named: options.to)
            var export = VerifiedExport(format: format, isVerified: options.verify, limits: try common.limits())
            // The source is still there, so a new file can be made again.
            export.options.durability = .syncedWhenReplacing
            let written = try export.write(model, to: output)
            report["output"] = JSON(output)
            report["check"] = written.json
            if !common.json {
                if !note.isEmpty { Console.note(note) }
                Console.note("\(output): \(written.summary)")
            }
        } else if !common.json {
            Console.output(patch.isEmpty ? "nothing would change" : patch.description)
            if !note.isEmpty { Console.note(note) }
            Console.note("nothing was written; -o FILE writes the result")
        }
        if common.json { Console.output(report.text(.indented)) }
    }
}
