import GraftCore
import GraftIR
import GraftRuntime

#if canImport(Glibc)
import Glibc
#endif

/// A model that tells classes apart, ready to be asked.
struct Classifier {
    private let session: Session
    private let output: String
    private let givesProbabilities: Bool

    /// Plans a model.
    init(_ model: Model) throws {
        let plan = try Plan(model)
        session = try Session(plan)
        guard let first = plan.outputs.first else { throw ContractError.noInput }
        output = first.name
        givesProbabilities =
            model.graph.outputs.first
            .flatMap { model.graph[$0].producer }
            .map { ["Softmax", "Sigmoid"].contains(model.graph[$0].op.type) } ?? false
    }

    /// The probability of each class for one sample; scores go through softmax.
    func probabilities(_ tensor: Tensor, input: String) throws -> [Float] {
        let scores = try session.run([input: tensor])[output]?.floats() ?? []
        // A reshape behind a softmax hides it from the look at the last node; numbers that sum to 1 show it.
        let sum = scores.reduce(0, +)
        if givesProbabilities || abs(sum - 1) < 1e-3 && scores.allSatisfy({ $0 >= 0 }) { return scores }
        let largest = scores.max() ?? 0
        let powers = scores.map { exp($0 - largest) }
        let total = powers.reduce(0, +)
        return powers.map { $0 / total }
    }
}
