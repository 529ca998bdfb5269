import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery

/// `graft fold`: batch normalizations into the weights beside them.
struct FoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fold",
        abstract: "Work batch normalizations into the weights beside them.",
        discussion: """
            A batch normalization behind a convolution, transposed convolution or matrix product (Gemm), or before a
            convolution without padding, becomes part of its weights. The change of the outputs is measured on probe
            inputs and printed.

              graft fold resnet50.onnx -o folded.onnx
              graft fold exported.onnx --constants --identities -o small.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Flag(name: .long, help: "Also store what small integer arithmetic, such as of shapes, always gives.")
    var constants = false

    @Flag(name: .long, help: "Also remove Identity, and Dropout, which does nothing outside training.")
    var identities = false

    @Flag(name: .long, inversion: .prefixedNo, help: "Fold batch normalizations.")
    var batchNorm = true

    @OptionGroup var output: SurgeryOutputOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let source = try ModelFormats.read(path: model, limits: common.limits())
        let patch = try Fold.patch(
            for: source, .init(batchNorms: batchNorm, constants: constants, identities: identities))
        let check = try ChangeCheck(source, patch, options: output, bound: 1e-3)
        var edited = source
        try edited.apply(patch)
        let gone = source.graph.nodeCount - edited.graph.nodeCount
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output.options, common: common, extra: ["removed_nodes": JSON(gone), "change": check.json],
            note: "\(gone) of \(source.graph.nodeCount) nodes folded; \(check.text)")
    }
}
