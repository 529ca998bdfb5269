import ArgumentParser
import GraftCore
import GraftData
import GraftFormats
import GraftIR
import GraftRuntime
import GraftSurgery
import GraftTraining

/// `graft head`: a new classifier on the old body.
struct HeadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "head",
        abstract: "Replace the classifier for other classes, or put one where there is none.",
        discussion: """
            The classifier is found (the last matrix product or 1x1 convolution), or named by --at. Everything before it
            stays as it is, which is proven on probe inputs bit for bit. A network without a classifier gets one behind
            its output, or with --append behind the value that --at names.

            --dense makes a classifier for each pixel (segmentation): a 1x1 convolution on a feature map, enlarged to the
            picture's size. It starts from the deepest map, whose features tell most about classes; a map of stride 8 or
            16 gives finer borders: --list shows the maps, --at takes one.

              graft head mobilenet.h5 --classes roses,tulips,daisies -o flowers.onnx
              graft head resnet50.onnx --data photos/ --init means -o flowers.onnx
              graft head flowers.onnx --classes names.txt --keep -o more-flowers.onnx
              graft head resnet50.onnx --dense --classes road,car,sky --hidden 64 -o street.onnx
            """)

    @Argument(help: "The model.")
    var model: String

    @Option(name: .long, help: "A number, names joined by commas, or a file with a name a line.")
    var classes: String?

    @Option(name: .long, help: "The node, layer or value to replace, where it is not found or not the one.")
    var at: String?

    @Flag(name: .long, help: "A class for each pixel: the head goes on a feature map.")
    var dense = false

    @Flag(
        name: .long, help: "Put the head behind the output, or the value of --at, rather than in place of a classifier."
    )
    var append = false

    @Flag(name: .long, help: "List the places where a head could go, and stop.")
    var list = false

    @Option(name: .long, help: "Where weights start: kaiming, xavier, normal, zeros, means or ridge.")
    var `init`: Initialization = .kaiming

    @Option(name: .long, help: "Labelled data: gives the classes, and with --init means or ridge the weights.")
    var data: String?

    @Flag(name: .long, help: "Classes that keep their names keep their weights.")
    var keep = false

    @Option(name: .long, help: "With --keep: a file with the names of the present classes, where the model has none.")
    var labels: String?

    @Option(name: .long, help: "A hidden layer of this width before the classifier; with --dense a 3x3 convolution.")
    var hidden: Int?

    @Option(name: .long, help: "The share of features that training drops before the classifier.")
    var dropout: Double?

    @Option(name: .long, help: "What follows the scores: same, none, softmax or sigmoid.")
    var activation: HeadActivation = .same

    @Option(name: .long, help: "The seed of random weights.")
    var seed: UInt64 = 0

    @OptionGroup var preprocessing: PreprocessingOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var common: CommonOptions

    enum Initialization: String, ExpressibleByArgument, CaseIterable {
        case kaiming, xavier, normal, zeros, means, ridge
    }

    func validate() throws {
        if dense && append { throw ValidationError("Give either --dense or --append.") }
        if list { return }
        if classes == nil && data == nil { throw ValidationError("Give the classes: --classes, or --data.") }
        if `init` == .means || `init` == .ridge {
            if data == nil {
                throw ValidationError("--init \(`init`.rawValue) starts from features of your data: give --data.")
            }
            if dense { throw ValidationError("--init \(`init`.rawValue) needs one class a sample; not with --dense.") }
        }
    }

    func run() throws {
        common.apply()
        let limits = try common.limits()
        let source = try ModelFormats.read(path: model, limits: limits)
        if list {
            try HeadPlaces(source, dense: dense).print(json: common.json)
            return
        }
        let (contract, contractNote) = try contract(source)
        var options = HeadOptions(classes: try headClasses(source, contract, limits: limits), place: at)
        options.keepsNamedClasses = keep
        options.presentLabels = try labels.map { try ClassNames.read(path: $0) }
        options.hidden = hidden
        options.dropout = dropout
        options.activation = activation
        options.seed = seed
        options.preprocessing = contract.preprocessing?.json
        let patch: Patch
        var placeNote = ""
        if dense {
            let maps = try FeatureMaps(source)
            let map = try maps.map(at: at)
            placeNote = "classes for each pixel from \(map.summary)\n"
            let others = maps.candidates.filter { $0.value != map.value }.map(\.summary)
            if at == nil, !others.isEmpty { placeNote += "other maps for --at: \(others.joined(separator: "; "))\n" }
            options.initialization = try initialization(source, options, contract, limits: limits)
            patch = try DenseHead.patch(for: source, options)
        } else if try appends(source) {
            options.initialization = try initialization(source, options, contract, limits: limits)
            let place = try AppendedHead.place(in: source, at: at)
            placeNote = "put behind \(source.graph[place.features].name)\n"
            patch = try AppendedHead.patch(for: source, options)
        } else {
            options.initialization = try initialization(source, options, contract, limits: limits)
            patch = try HeadSwap.patch(for: source, options)
        }
        var edited = source
        try edited.apply(patch)
        let body = try BodyCheck(source, edited)
        let head = try LayerTree(edited).head
        let note = "\(head?.reason ?? "")\n\(placeNote)\(body.text)\n\(contractNote)"
        try SurgeryResult(input: model, source: source, patch: patch).finish(
            output, common: common,
            extra: [
                "head": head.map {
                    [
                        "node": JSON(edited.graph[$0.node].label(in: edited.graph)),
                        "features": JSON($0.featureCount), "classes": JSON($0.classCount),
                        "kind": JSON($0.kind.rawValue),
                    ]
                } ?? .null, "body": body.json,
                "preprocessing": contract.preprocessing?.json ?? .null,
            ], note: note)
    }

    /// Whether the head goes behind the output: where that is asked for, or nothing there is a classifier and the output
    /// is a feature map or a vector.
    private func appends(_ source: Model) throws -> Bool {
        if append { return true }
        if at != nil || keep { return false }
        guard !HeadFinder(source).hasLikelyHead, source.graph.outputs.count == 1 else { return false }
        return (try? AppendedHead.place(in: source)) != nil
    }

    /// The contract that the file is to state, and a sentence about it.
    private func contract(_ source: Model) throws -> (ModelContract, String) {
        let contract = try ModelContract(source, options: preprocessing)
        guard let found = contract.preprocessing else { return (contract, "no preprocessing: \(contract.reason)") }
        let stored = "written into the file; --preprocessing sets another"
        guard dense, case .crop = found.resize, preprocessing.preprocessing == nil else {
            return (contract, "preprocessing: \(contract.reason); \(stored)")
        }
        // A crop would leave the borders of the picture without classes.
        return (
            contract.stretched,
            "preprocessing: \(contract.reason), with the whole picture in place of its middle; \(stored)"
        )
    }

    private func headClasses(_ source: Model, _ contract: ModelContract, limits: Limits) throws -> HeadClasses {
        if let classes {
            if let count = Int(classes) { return .count(count) }
            return .names(try ClassNames.parse(classes))
        }
        return .names(try contract.open(data ?? "", classes: .some(nil), limits: limits).classNames)
    }

    private func initialization(
        _ source: Model, _ options: HeadOptions, _ contract: ModelContract, limits: Limits
    ) throws -> HeadInitialization {
        switch `init` {
        case .kaiming: return .kaiming
        case .xavier: return .xavier
        case .normal: return .normal(0.01)
        case .zeros: return .zeros
        case .means, .ridge:
            let dataSet = try contract.open(data ?? "", classes: .some(options.classes.names), limits: limits)
            let extraction =
                try appends(source)
                ? FeatureExtraction(source, behind: AppendedHead.place(in: source, at: at))
                : FeatureExtraction(source, at: at)
            let statistics = try extraction.statistics(
                of: contract.samples(dataSet), classes: options.classes.count, keepsProducts: `init` == .ridge)
            return `init` == .means ? .means(statistics) : .ridge(statistics, penalty: 1e-2)
        }
    }
}

extension HeadActivation: ExpressibleByArgument {}

/// Names of classes as users give them.
enum ClassNames {
    /// Names joined by commas, or those in a file.
    static func parse(_ text: String) throws -> [String] {
        if !text.contains(","), (try? MappedFile(path: text)) != nil { return try read(path: text) }
        let names = text.split(separator: ",").map { trimmed($0) }.filter { !$0.isEmpty }
        guard names.count > 1 else {
            throw ValidationError("--classes \(text): a number, names joined by commas, or a file is expected.")
        }
        return names
    }

    /// A name a line; empty lines do not count.
    static func read(path: String) throws -> [String] {
        let text = try MappedFile(path: path).withBytes { String(decoding: $0, as: UTF8.self) }
        return text.split(whereSeparator: \.isNewline).map { trimmed($0) }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

/// Whether a model's body gives the same features before and after its head was replaced.
struct BodyCheck {
    private let feature: String
    private let isIdentical: Bool?
    private let remark: String

    init(_ source: Model, _ edited: Model) throws {
        guard let name = try edited.annotations().head?.features, let after = edited.graph.value(named: name) else {
            (feature, isIdentical, remark) = ("", nil, "no head is marked")
            return
        }
        feature = name
        guard let before = source.graph.value(named: name) else {
            (isIdentical, remark) = (nil, "the value \(name) is not in the source")
            return
        }
        do {
            let inputs = try ProbeInputs.make(for: source)
            var options = PlanOptions.forComparison
            options.outputs = [before]
            let expected = try Session(Plan(source, options: options)).run(inputs)[name]
            options.outputs = [after]
            let actual = try Session(Plan(edited, options: options)).run(inputs)[name]
            guard let expected, let actual, try expected.isIdentical(to: actual) else {
                throw BodyError.changed(feature: name)
            }
            (isIdentical, remark) = (true, "")
        } catch let error as BodyError {
            throw error
        } catch let error as any GraftError {
            // A body that cannot run here is not compared, and that is said.
            (isIdentical, remark) = (nil, error.description)
        }
    }

    var text: String {
        isIdentical == true
            ? "body unchanged: \(feature) is the same bit for bit" : "body not compared: \(remark)"
    }

    var json: JSON {
        [
            "features": JSON(feature), "identical": isIdentical.map { JSON($0) } ?? .null,
            "remark": remark.isEmpty ? .null : JSON(remark),
        ]
    }
}

/// A body that a new head changed: a defect.
enum BodyError: GraftError {
    case changed(feature: String)

    var exitStatus: ExitStatus { .gateFailed }
    var description: String {
        switch self {
        case .changed(let feature):
            "the new head would change the body: \(feature) is not the same before and after; nothing was written"
        }
    }
}

/// Runs the part of a model before its head.
struct FeatureExtraction {
    private let session: Session
    private let name: String
    private let count: Int

    init(_ model: Model, at place: String?) throws {
        let head = try HeadFinder(model).head(at: place)
        var options = PlanOptions()
        options.outputs = [head.features]
        session = try Session(Plan(model, options: options))
        name = model.graph[head.features].name
        count = head.featureCount
    }

    init(_ model: Model, behind place: AppendedHead.Place) throws {
        var options = PlanOptions()
        options.outputs = [place.features]
        session = try Session(Plan(model, options: options))
        name = model.graph[place.features].name
        count = place.count
    }

    /// Sums over the features of labelled samples; maps of features are averaged over their area.
    func statistics(of samples: DataSetSamples, classes: Int, keepsProducts: Bool) throws -> FeatureStatistics {
        var result = FeatureStatistics(features: count, classes: classes, keepsProducts: keepsProducts)
        var progress = Progress("features", total: samples.count, unit: "samples")
        defer { progress.finish() }
        let wanted = session.plan.inputs.map(\.name)
        for start in stride(from: 0, to: samples.count, by: 16) {
            let rows = Array(start..<min(start + 16, samples.count))
            let inputs = try samples.batch(rows, variation: nil).filter { wanted.contains($0.key) }
            guard let features = try session.run(inputs)[name] else { continue }
            let numbers = try features.floats()
            let width = numbers.count / rows.count
            for (row, sample) in rows.enumerated() {
                let own = numbers[(row * width)..<((row + 1) * width)]
                let area = max(1, width / count)
                let means = (0..<count).map { index in
                    own[(own.startIndex + index * area)..<(own.startIndex + (index + 1) * area)].reduce(0, +)
                        / Float(area)
                }
                try result.add(means, label: samples.labels[sample])
            }
            progress.update(start + rows.count)
        }
        return result
    }
}
