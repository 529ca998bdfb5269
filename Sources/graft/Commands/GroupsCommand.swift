import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery
import OrderedCollections

/// `graft groups`: learning-rate groups.
struct GroupsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "groups",
        abstract: "Give parts of a network learning rates of their own; the file remembers.",
        discussion: """
            A group's rate is the stage's rate times its multiplier. --decay gives every block a multiplier that shrinks
            towards the input; --set names parts by selectors and counts after --decay.

              graft groups m.onnx --decay 0.8 -o m.onnx
              graft groups m.onnx --set 'layer1.*=0.1' --set '@head=2' -o m.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "The factor between the rates of neighbouring blocks, towards the input.")
    var decay: Double?

    @Option(name: .long, help: "With --decay: the least multiplier.")
    var minimum = 0.0

    @Option(name: .long, help: ArgumentHelp("The multiplier of some layers.", valueName: "selector=number"))
    var set: [String] = []

    @Option(
        name: .long, help: ArgumentHelp("The weight decay of some layers.", valueName: "selector=number"))
    var weightDecay: [String] = []

    @Flag(name: .long, inversion: .prefixedNo, help: "Exempt biases and normalizations from weight decay.")
    var exempt = true

    @Flag(name: .long, help: "Remove all groups first.")
    var clear = false

    @OptionGroup var output: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if decay == nil && set.isEmpty && weightDecay.isEmpty && !clear {
            throw ValidationError("Give --decay, --set, --weight-decay or --clear.")
        }
        for entry in set + weightDecay { _ = try Self.parts(entry) }
    }

    func run() throws {
        common.apply(computes: output.computes)
        let source = try ModelFormats.read(path: model, limits: common.limits())
        var steps: [RateGrouping.Step] = clear ? [.clear] : []
        if let decay { steps.append(.decay(decay, minimum: minimum)) }
        for entry in set {
            let (selector, number) = try Self.parts(entry)
            steps.append(.set(try Selector.parse(selector), multiplier: number))
        }
        for entry in weightDecay {
            let (selector, number) = try Self.parts(entry)
            steps.append(.weightDecay(try Selector.parse(selector), number))
        }
        let patch = try RateGrouping.patch(for: source, RateGrouping.Options(steps, exemptsVectors: exempt))
        var edited = source
        try edited.apply(patch)
        let annotations = try edited.annotations()
        var table = Table([("group", .left), ("rate", .right), ("weight decay", .right), ("tensors", .right)])
        for group in annotations.groups.values {
            let members = annotations.groupOfParameter.values.filter { $0 == group.name }.count
            table.add([
                group.name, "× \(Format.decimal(group.multiplier, digits: 4))",
                group.weightDecay.map { "\($0)" } ?? "", "\(members)",
            ])
        }
        let json = JSON(
            annotations.groups.values.map {
                [
                    "name": JSON($0.name), "multiplier": JSON($0.multiplier),
                    "weight_decay": $0.weightDecay.map { JSON($0) } ?? .null,
                ]
            })
        try SurgeryResult(input: model, source: source, patch: patch)
            .finish(output, common: common, extra: ["groups": json], note: table.text())
    }

    private static func parts(_ entry: String) throws -> (String, Double) {
        guard let equals = entry.lastIndex(of: "="), let number = Double(entry[entry.index(after: equals)...]) else {
            throw ValidationError("\(entry): SELECTOR=NUMBER is expected.")
        }
        return (String(entry[..<equals]), number)
    }
}
