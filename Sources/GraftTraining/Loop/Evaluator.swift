import GraftAutodiff
import GraftCore
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
    /// - Throws: ``TrainingError/noScores(_:)`` where it is no classifier, and what planning throws.
    public init(_ model: Model) throws {
        let layers = try LayerTree(model)
        let output = try Scores.output(of: layers)
        var relaxed = StageProgram.relaxed(model, storing: [])
        if Differentiation.logits(of: output, in: relaxed.graph).normalisation == "Sigmoid" {
            throw TrainingError.noScores("it ends in a Sigmoid, so a sample may have several classes")
        }
        let scores = try Scores.find(behind: output, in: &relaxed)
        outputName = relaxed.graph[scores].name
        let shape = try Inference.inferTypes(of: relaxed, inputs: [:]).shape(of: scores)
        classes = shape.flatMap { $0.rank > 1 ? $0[1].count : nil } ?? layers.head?.classCount
        var options = PlanOptions()
        options.outputs = [scores]
        session = try Session(Plan(relaxed, options: options))
    }

    /// The figures on all samples, in order.
    ///
    /// - Parameter progress: told how many samples are done.
    public func evaluate(
        _ samples: any TrainingSamples, batch: Int = 32, progress: (Int) -> Void = { _ in }
    ) throws -> Evaluation {
        var evaluation: Evaluation?
        let names = session.plan.inputs.map(\.name)
        for start in stride(from: 0, to: samples.count, by: max(batch, 1)) {
            let positions = Array(start..<min(start + max(batch, 1), samples.count))
            let inputs = try samples.batch(positions, variation: nil).filter { names.contains($0.key) }
            let outputs = try session.run(inputs)[outputName]?.elements(as: Float.self) ?? []
            let count = outputs.count / positions.count
            let labels = positions.map { samples.labels[$0] }
            if let most = labels.max(), most >= count {
                throw TrainingError.classesDoNotFit("the model tells \(count) classes apart, the data has \(most + 1)")
            }
            if evaluation == nil { evaluation = Evaluation(classes: count) }
            evaluation?.add(
                outputs: outputs, areProbabilities: false, labels: labels, samples: positions)
            progress(positions[positions.count - 1] + 1)
        }
        guard let evaluation else { throw TrainingError.noSamples("the data is empty") }
        return evaluation
    }
}
