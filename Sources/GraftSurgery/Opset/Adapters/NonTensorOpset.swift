import GraftIR

/// Sequences and optional values, which general operators came to take after tensors.
enum NonTensorOpset: OpsetAdapterFamily {
    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["If", "Loop"], 13, down: { try refuseSequences(&$0, 13) }),
        OpsetAdapter(["Identity"], 14, down: { try refuseSequences(&$0, 14) }),
        OpsetAdapter(["Identity", "If", "Loop"], 16, down: refuseOptionals),
    ]

    private static func kinds(_ editor: OpsetEditor) -> [ValueType.Kind] {
        (editor.node.inputs + editor.node.outputs).compactMap { value in
            value.flatMap { (editor.known.type(of: $0) ?? editor.graph[$0].type)?.kind }
        }
    }

    private static func refuseSequences(_ editor: inout OpsetEditor, _ version: Int) throws {
        for case .sequence in kinds(editor) { throw editor.refusal("sequences came with opset \(version)") }
    }

    private static func refuseOptionals(_ editor: inout OpsetEditor) throws {
        for case .optional in kinds(editor) { throw editor.refusal("optional values came with opset 16") }
    }
}
