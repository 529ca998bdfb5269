import GraftAutodiff
import GraftCore
import GraftData
import GraftIR
import GraftRuntime

/// Measures a classifier on a set of samples.
public final class Evaluator {
    /// The number of classes that the model tells apart; nil where its shapes do not say.
    public let classes: Int?
    private let session: Session
    private let outputName: String

    /// Plans a model.
    ///
    /// - Parameter targets: what the data says about each sample.
    /// - Throws: ``TrainingError`` where it is no classifier for such data, and what planning throws.
    public init(_ model: Model, targets: TargetKind = .classes) throws {
        let layers = try LayerTree(model)
        let output = try Scores.output(of: layers)
        var relaxed = StageProgram.relaxed(model, storing: [])
        let scores = try Scores.find(behind: output, in: &relaxed, for: targets).value
        outputName = relaxed.graph[scores].name
        let shape = try Inference.inferTypes(of: relaxed, inputs: [:]).shape(of: scores)
        classes = shape.flatMap { $0.rank > 1 ? $0[1].count : nil } ?? layers.head?.classCount
        var options = PlanOptions()
        options.outputs = [scores]
        session = try Session(Plan(relaxed, options: options))
    }

    /// The figures on all samples, in order.
    ///
    /// - Parameters:
    ///   - ignored: the label of pixels that do not count.
    ///   - progress: told how many samples are done.
    public func evaluate(
        _ samples: any TrainingSamples, batch: Int = 32, ignored: Int = Mask.ignored,
        progress: (Int) -> Void = { _ in }
    ) throws -> Evaluation {
        var evaluation: Evaluation?
        let names = session.plan.inputs.map(\.name)
        for start in stride(from: 0, to: samples.count, by: max(batch, 1)) {
            let positions = Array(start..<min(start + max(batch, 1), samples.count))
            let inputs = try samples.batch(positions, variation: nil).filter { names.contains($0.key) }
            guard let scores = try session.run(inputs)[outputName] else { break }
            try Evaluation.add(scores, of: samples, samples: positions, ignored: ignored, to: &evaluation)
            progress(positions[positions.count - 1] + 1)
        }
        guard let evaluation else { throw TrainingError.noSamples("the data is empty") }
        return evaluation
    }
}
