import GraftCore
import GraftIR

/// The reverse pass: a graph in, the same graph with the nodes that compute gradients out.
public enum Differentiation {
    /// Appends the nodes that compute the gradients of a loss.
    ///
    /// Nodes are added only along the ways from the wanted values to the loss; frozen parts get none. Where a value is
    /// read several times the partial gradients are summed. Integers, comparisons and other operators without slope
    /// end a way. Everything is checked before the model is touched.
    ///
    /// - Parameters:
    ///   - loss: a value of one element.
    ///   - wanted: the values whose gradients are asked for: initializers, inputs, or values that nodes make.
    ///   - inputs: shapes in place of the declared ones; see ``GraftIR/Inference/inferTypes(of:inputs:)``.
    /// - Returns: for each wanted value that the loss depends on the value that holds its gradient, of the same shape
    ///   and type. A value that the loss does not depend on has no entry.
    /// - Throws: ``DifferentiationError`` with every operator on the ways that has no right gradient; the model is then
    ///   as it was.
    @discardableResult
    public static func gradients(
        of loss: ValueID, withRespectTo wanted: [ValueID], in model: inout Model,
        inputs: [String: ShapeOverride] = [:]
    ) throws -> [ValueID: ValueID] {
        let types = try Inference.inferTypes(of: model, inputs: inputs)
        try check(loss, wanted, in: model.graph, types: types)
        var pass = try ReversePass(loss: loss, wanted: wanted, model: model, types: types)
        try pass.run()
        let gradients = pass.gradients()
        model.graph = pass.graph
        model.importOpset(graftDomain, version: 1)
        return gradients
    }

    /// What is in the way of a gradient, without changing anything; empty where nothing is.
    ///
    /// For `doctor` and the dry run of a recipe.
    public static func obstacles(
        of loss: ValueID, withRespectTo wanted: [ValueID], in model: Model, inputs: [String: ShapeOverride] = [:]
    ) throws -> [DifferentiationError.Obstacle] {
        var copy = model
        do {
            try gradients(of: loss, withRespectTo: wanted, in: &copy, inputs: inputs)
            return []
        } catch let error as DifferentiationError {
            return error.obstacles
        }
    }

    private static func check(
        _ loss: ValueID, _ wanted: [ValueID], in graph: Graph, types: InferredTypes
    ) throws(DifferentiationError) {
        var obstacles: [DifferentiationError.Obstacle] = []
        func refuse(_ value: ValueID, _ reason: String) {
            let op = graph[value].producer.map { graph[$0].op } ?? "Input"
            obstacles.append(.init(node: graph[value].name, op: op, reason: reason, path: []))
        }
        if let shape = types.shape(of: loss), !shape.extents.allSatisfy({ $0 == .fixed(1) }) {
            refuse(loss, "the loss must have one element, but its shape is \(shape)")
        }
        for value in [loss] + wanted {
            if let type = types.elementType(of: value), !GradientFlow.isDifferentiable(type) {
                refuse(value, "its elements are of type \(type.name), which has no gradients")
            }
        }
        if !obstacles.isEmpty { throw DifferentiationError(obstacles: obstacles) }
    }
}
