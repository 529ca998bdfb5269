import GraftCore
import GraftFormats
import GraftIR
import GraftSurgery
import Testing

/// Runs a pass and checks what every pass promises: a valid result, an undo that restores everything, and the same
/// patch again from the same model.
func checked<P: Pass>(
    _ pass: P.Type, _ model: Model, _ options: P.Options, keepsOutputs: Bool = true
) throws -> Model {
    let patch = try P.patch(for: model, options)
    #expect(try P.patch(for: model, options) == patch, "\(P.name) is not deterministic")
    var edited = model
    try edited.apply(patch)
    try Verifier.verify(edited)
    if keepsOutputs {
        #expect(edited.graph.outputs.map { edited.graph[$0].name } == model.graph.outputs.map { model.graph[$0].name })
    }
    var undone = edited
    try undone.apply(patch.inverse)
    try Verifier.verify(undone)
    #expect(undone.metadata == model.metadata)
    #expect(undone.graph.order == model.graph.order)
    for id in model.graph.values { #expect(undone.graph[id] == model.graph[id]) }
    for id in model.graph.order { #expect(undone.graph[id] == model.graph[id]) }
    return edited
}

/// The numbers of a stored tensor.
func floats(_ name: String, in model: Model) throws -> [Float] {
    let id = try #require(model.graph.value(named: name), "there is no \(name)")
    return try #require(model.graph.constantTensor(of: id)).floats()
}

/// How far the outputs of two models are apart on probe inputs, relative to their scale.
func difference(_ first: Model, _ second: Model) throws -> Double {
    try OutputParity(first, second).largestRelativeDifference
}
