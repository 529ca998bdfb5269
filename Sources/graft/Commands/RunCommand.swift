import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR
import GraftRuntime
import GraftWeights
import OrderedCollections

/// `graft run`: tensors in, tensors out.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a model on arrays: NPZ in, NPZ out.",
        discussion: """
            The arrays of --inputs are named after the model's inputs, those of --outputs after its outputs. The elements
            of a sequence are named name.0, name.1 and so on; a sequence without arrays is empty. An optional value that
            is absent has no array. A map is name.keys and name.values. Texts are arrays of type U. A node that cannot run
            is named before anything runs.

            --profile and --trace count the nodes of bodies (If, Loop, Scan, functions) as nodes of their own, named
            outer/inner; the time of a node leaves out that of the nodes in its bodies.

              graft run model.onnx --inputs in.npz --outputs out.npz
              graft run model.onnx --random 1 --outputs out.npz --profile
              graft run model.onnx --random 1 --repeat 3 --trace trace.json
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "An NPZ file with an array for each input.")
    var inputs: String?

    @Option(name: .long, help: "Where to write the outputs, as NPZ.")
    var outputs: String?

    @Option(name: .long, help: "Make up inputs from this seed.")
    var random: UInt64?

    @Option(name: .long, help: "With --random: the extent of the batch axis where the model leaves it open.")
    var batch = 1

    @Option(name: .long, help: "Run this many times more, for timing.")
    var `repeat` = 0

    @Option(name: .long, help: "Run for this many seconds more, for timing.")
    var seconds: Double = 0

    @Option(name: .long, help: "The numbers that matrix work is done in: float32, or bf16 where the processor has it.")
    var precision: Precision = .float32

    @Flag(name: .long, help: "Print the time by operator and by node.")
    var profile = false

    @Option(
        name: .long, help: "Write a time line of the nodes as a Chrome trace (JSON), for chrome://tracing or Perfetto.")
    var trace: String?

    @OptionGroup var common: CommonOptions

    enum Precision: String, ExpressibleByArgument, CaseIterable {
        case float32
        case bf16
    }

    func validate() throws {
        if (inputs == nil) == (random == nil) { throw ValidationError("Give either --inputs or --random.") }
        if batch < 1 || `repeat` < 0 || !(seconds >= 0) {
            throw ValidationError("--batch, --repeat and --seconds take positive numbers.")
        }
    }

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let source = try ModelFormats.read(path: model, limits: limits)
        var options = PlanOptions.readingPictures
        options.allowsBF16 = precision == .bf16
        let plan = try Plan(source, options: options)
        let given: [String: ModelValue]
        if let inputs {
            given = try NamedArrays.values(for: plan.inputs, from: NPZ.read(path: inputs, limits: limits))
        } else {
            given = try ProbeInputs.make(for: source, seed: random ?? 0, batch: batch).mapValues { .tensor($0) }
        }
        let session = try Session(plan)
        var times: [Double] = []
        var results: [String: ModelValue] = [:]
        func runOnce() throws {
            let start = Progress.now()
            results = try session.run(given)
            times.append(Progress.now() - start)
        }
        let isTimed = `repeat` > 0 || seconds > 0
        let isProfiled = profile || trace != nil
        if isProfiled && !isTimed { session.profile = Profile(plan) }
        // The first run makes primitives and packs weights; those after it are what is measured.
        try runOnce()
        var processor = 0.0
        if isTimed {
            if isProfiled { session.profile = Profile(plan) }
            let (end, used) = (Progress.now() + seconds, Progress.processorTime())
            while times.count <= `repeat` || Progress.now() < end { try runOnce() }
            processor = (Progress.processorTime() - used) / Double(max(times.count - 1, 1))
        }
        var named: OrderedDictionary<String, Tensor> = [:]
        for port in plan.outputs {
            guard let value = results[port.name] else { continue }
            named.merge(NamedArrays.arrays(port.name, value)) { _, new in new }
        }
        if let outputs { try NPZ.write(named, to: outputs) }
        if let trace, let profile = session.profile {
            let tensors = given.compactMapValues(\.tensor)
            try ChromeTrace(profile, of: source, inputs: tensors).write(to: trace)
        }
        try report(named, times: times, processor: processor, session: session)
    }

    private func report(
        _ results: OrderedDictionary<String, Tensor>, times: [Double], processor: Double, session: Session
    ) throws {
        let warm = times.count > 1 ? times.dropFirst().sorted() : times
        let median = warm[warm.count / 2]
        if common.json {
            let json: JSON = [
                "outputs": JSON(
                    results.map {
                        ["name": JSON($0.key), "type": JSON($0.value.elementType.name), "shape": JSON($0.value.shape)]
                    }),
                "first_seconds": JSON(times[0]), "median_seconds": JSON(median),
                "best_seconds": JSON(warm[0]), "processor_seconds": JSON(processor),
                "peak_arena_bytes": JSON(session.peakBytes),
            ]
            Console.output(json.text(.indented))
        } else {
            var table = Table([("output", .left), ("type", .left), ("shape", .left), ("range", .left)])
            for (name, tensor) in results {
                let numbers = (try? tensor.floats()) ?? []
                let range = numbers.isEmpty ? "" : "\(numbers.min() ?? 0) ... \(numbers.max() ?? 0)"
                table.add([name, tensor.elementType.name, "\(tensor.shape)", range])
            }
            Console.output(table.text())
            let runs = times.count > 1 ? ", then \(Format.duration(median)) a run" : ""
            Console.note("first run \(Format.duration(times[0]))\(runs)")
        }
        if profile, let profile = session.profile { Console.note(Self.text(of: profile)) }
    }

    private static func text(of profile: Profile) -> String {
        let total = Double(profile.entries.reduce(0) { $0 + $1.nanoseconds })
        var operators = Table([("operator", .left), ("runs", .right), ("time", .right), ("share", .right)])
        for entry in profile.byOperator.prefix(20) {
            operators.add([
                entry.op.description, "\(entry.calls)", Format.duration(Double(entry.nanoseconds) * 1e-9),
                Format.percent(Double(entry.nanoseconds) / max(total, 1)),
            ])
        }
        var nodes = Table([
            ("node", .left), ("operator", .left), ("runs", .right), ("time", .right), ("share", .right),
        ])
        for entry in profile.entries.sorted(by: { $0.nanoseconds > $1.nanoseconds }).prefix(20) {
            nodes.add([
                entry.node, entry.op.description, "\(entry.calls)", Format.duration(Double(entry.nanoseconds) * 1e-9),
                Format.percent(Double(entry.nanoseconds) / max(total, 1)),
            ])
        }
        return "\(operators.text())\n\n\(nodes.text())"
    }
}
