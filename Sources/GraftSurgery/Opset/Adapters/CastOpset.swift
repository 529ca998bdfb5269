import GraftCore
import GraftIR

/// Cast and CastLike: switches for narrow floating-point types, which other types do not need.
enum CastOpset: OpsetAdapterFamily {
    private static let eights: Set<ElementType> = [
        .float8e4m3fn, .float8e4m3fnuz, .float8e5m2, .float8e5m2fnuz, .float8e8m0,
    ]

    static let adapters: [OpsetAdapter] = [
        OpsetAdapter(["Cast", "CastLike"], 19, down: { try drop("saturate", .int(1), &$0) }),
        OpsetAdapter(["Cast", "CastLike"], 24, down: { try drop("round_mode", .string("up"), &$0) }),
        OpsetAdapter(
            ["CastLike"], 15,
            down: { editor in
                let type = try editor.requiredElementType(editor.input(1))
                try editor.replace("Cast", [editor.input(0)], ["to": .int(Int(type.rawValue))])
            }),
    ]

    private static func drop(_ attribute: String, _ neutral: AttributeValue, _ editor: inout OpsetEditor) throws {
        guard let value = editor.node.attributes[attribute] else { return }
        let target =
            editor.node.op.type == "Cast"
            ? try editor.reader.elementType("to") : editor.elementType(editor.input(1))
        guard value == neutral || target.map({ !eights.contains($0) }) ?? false else {
            throw editor.refusal("the attribute \"\(attribute)\" is not in older versions")
        }
        editor.set(attribute, to: nil)
    }
}
