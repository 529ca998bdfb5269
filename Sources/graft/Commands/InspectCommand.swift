import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftReport

/// `graft inspect`: what is in a model.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show a model: layers, shapes, parameters, what is frozen, where the head is.",
        discussion: """
              graft inspect resnet50.onnx
              graft inspect mobilenet.h5 --depth 1
              graft inspect model.onnx --graph model.svg
              graft inspect model.onnx --values
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "How many levels of the layer tree to show.")
    var depth: Int?

    @Option(name: .long, help: "Draw the layers into this SVG file.")
    var graph: String?

    @Flag(name: .long, help: "Show the type and shape of every value, as --json always does.")
    var values = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply(computes: false)
        let limits = try common.limits()
        let format = try ModelFormats.format(ofFile: model)
        let summary = try ModelSummary(format.read(path: model, limits: limits))
        if let graph {
            try AtomicFile.write(text: summary.diagram(title: model).svg(), to: graph)
            Console.note("drawn: \(graph)")
        }
        if common.json {
            Console.output(summary.json(path: model, format: format.name).text(.indented))
        } else {
            Console.output(summary.text(path: model, format: format.name, depth: depth))
            if values { Console.output("\n\(summary.valuesText)") }
        }
    }
}
