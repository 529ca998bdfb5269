import GraftIR

/// How nodes of some operators follow a change of their definition.
struct OpsetAdapter: Sendable {
    /// An edit of the editor's node.
    ///
    /// - Throws: ``OpsetRefusal`` where the node cannot be expressed on the other side of the change.
    typealias Edit = @Sendable (inout OpsetEditor) throws -> Void

    /// The operators.
    let operators: [String]
    /// The opset version that brought the change.
    let version: Int
    /// From the version before to ``version``.
    let up: Edit
    /// From ``version`` to the version before.
    let down: Edit

    /// How nodes of some operators follow a change.
    init(
        _ operators: [String], _ version: Int, up: @escaping Edit = { _ in }, down: @escaping Edit = { _ in }
    ) {
        self.operators = operators
        self.version = version
        self.up = up
        self.down = down
    }
}

/// A file of adapters.
protocol OpsetAdapterFamily {
    /// The adapters of the family.
    static var adapters: [OpsetAdapter] { get }
}

/// All adapters, found by version and operator.
enum OpsetAdapters {
    /// The families; a new file adds its line here.
    ///
    /// Of two adapters for one change both run, in this order.
    static var families: [any OpsetAdapterFamily.Type] {
        [
            AddedAttributes.self,
            AxesOpset.self,
            BatchNormalizationOpset.self,
            BroadcastOpset.self,
            CastOpset.self,
            ClipOpset.self,
            ConstantOpset.self,
            DecompositionOpset.self,
            DropoutOpset.self,
            GroupNormalizationOpset.self,
            NegativeAxesOpset.self,
            PadOpset.self,
            QuantizationOpset.self,
            ResizeOpset.self,
            ScatterOpset.self,
            ShapeOpset.self,
            SliceOpset.self,
            SoftmaxOpset.self,
            SplitOpset.self,
            TransformOpset.self,
        ]
    }

    private static let table: [Int: [String: [OpsetAdapter]]] = {
        var result: [Int: [String: [OpsetAdapter]]] = [:]
        for adapter in families.flatMap({ $0.adapters }) {
            for type in adapter.operators { result[adapter.version, default: [:]][type, default: []].append(adapter) }
        }
        return result
    }()

    /// The adapters for the changes that a version brought, by operator.
    static func at(_ version: Int) -> [String: [OpsetAdapter]] { table[version] ?? [:] }
}

/// Why a node cannot be expressed in another opset version.
struct OpsetRefusal: Error {
    let reason: String
}
