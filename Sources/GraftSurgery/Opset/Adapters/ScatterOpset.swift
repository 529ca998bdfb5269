import GraftIR

/// Scatter has been called ScatterElements since opset 11.
enum ScatterOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Scatter"], 11, up: { $0.graph[$0.id].op = "ScatterElements" }),
        OpsetAdapter(["ScatterElements"], 11, down: { $0.graph[$0.id].op = "Scatter" }),
    ]
}
