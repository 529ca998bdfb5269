import GraftCore
import GraftIR

/// Follows the task that a model came with: how well the old head still does on the new body.
public struct Retention: Sendable {
    /// The model as it was, with its old head.
    public var model: Model
    /// Samples of the old task.
    public var samples: any TrainingSamples

    /// Follows an old task.
    public init(model: Model, samples: any TrainingSamples) {
        self.model = model
        self.samples = samples
    }

    /// The figures of the model as it was, and of its old head on the body of a tuned model.
    ///
    /// What is not the old head and has the same name and shape in both models is taken from the tuned one.
    public func evaluate(on tuned: Model, batch: Int) throws -> (before: Evaluation, after: Evaluation) {
        let before = try Evaluator(model, targets: samples.targetKind).evaluate(samples, batch: batch)
        let layers = try LayerTree(model)
        let head = Set(layers.headParameters)
        var grafted = model
        for id in layers.parameters + layers.statistics where !head.contains(id) {
            let name = model.graph[id].name
            guard let other = tuned.graph.value(named: name), let tensor = tuned.graph.constantTensor(of: other),
                tensor.shape == model.graph.constantTensor(of: id)?.shape
            else { continue }
            grafted.graph.storeConstant(id)
            grafted.graph.setTensor(id, tensor)
        }
        return (before, try Evaluator(grafted, targets: samples.targetKind).evaluate(samples, batch: batch))
    }
}
