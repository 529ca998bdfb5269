import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery

/// `graft opset`: a model in another version of ONNX's operators.
struct OpsetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "opset",
        abstract: "Convert a model to another version of ONNX's operators.",
        discussion: """
            Versions 7 to 28, up and down, functions and bodies included. What the version cannot express is refused
            before anything is done, node by node. The outputs before and after are compared on probe inputs.

              graft opset old.onnx 18 -o new.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Argument(help: "The version to convert to.")
    var version: Int

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let patch = try OpsetConversion.patch(for: source, .init(target: version))
        let check = try ChangeCheck(source, patch, options: output, bound: 1e-4)
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output.options, common: common,
            extra: ["from": source.opset().map { JSON($0) } ?? .null, "to": JSON(version), "change": check.json],
            note: check.text)
    }
}
