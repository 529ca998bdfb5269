import GraftCore
import GraftIR

/// Converts a model to another version of ONNX's own operators.
///
/// Bodies of control-flow nodes and functions are converted as well. Every value keeps its name; nodes that an older or
/// newer version has no word for become several. What cannot be expressed is refused before anything is changed.
public enum OpsetConversion: Pass {
    /// Which version.
    public struct Options: Sendable, Equatable {
        /// The version of `ai.onnx` to convert to.
        public var target: Int

        /// A conversion to a version.
        public init(target: Int) { self.target = target }
    }

    /// The versions between which models are converted.
    public static let versions = 7...28

    /// The name of the pass.
    public static let name = "opset"
    /// What the pass does.
    public static let summary = "Converts to another version of ONNX's operators."

    /// The patch that converts a model.
    ///
    /// - Throws: ``OpsetError`` with every node that cannot be expressed in the target version.
    public static func patch(for model: Model, _ options: Options) throws -> Patch {
        guard versions.contains(options.target) else { throw OpsetError.outside(version: options.target) }
        guard let source = model.opset() else { throw OpsetError.noVersion }
        let scopes = [source] + model.functions.compactMap { $0.opset() }
        for version in scopes where version != options.target && !versions.contains(version) {
            throw OpsetError.outside(version: version)
        }
        return try record(on: model, details: ["from": JSON(source), "to": JSON(options.target)]) { edited in
            guard scopes.contains(where: { $0 != options.target }) else { return }
            let known = try Inference.inferTypes(of: model)
            var converter = OpsetConverter(model, target: options.target)
            converter.convert(&edited.graph, from: source, known: known)
            edited.opsets = edited.opsets.converted(to: options.target)
            for (index, function) in model.functions.enumerated() {
                guard let version = function.opset() else { continue }
                converter.convert(
                    &edited.functions[index].body, from: version,
                    known: InferredTypes.common(to: function, in: model, known: known), function: function.name)
                edited.functions[index].opsets = function.opsets.converted(to: options.target)
            }
            if !converter.refusals.isEmpty {
                throw OpsetError.notExpressible(target: options.target, nodes: converter.refusals)
            }
            edited.followIRVersion(of: options.target, from: source)
        }
    }
}

extension Function {
    /// The version of ONNX's own operators that the body uses; nil where it imports none.
    func opset() -> Int? { opsets.first { $0.domain.isEmpty || $0.domain == "ai.onnx" }?.version }
}

extension [OpsetImport] {
    fileprivate func converted(to version: Int) -> [OpsetImport] {
        map { entry in
            var entry = entry
            if entry.domain.isEmpty || entry.domain == "ai.onnx" { entry.version = version }
            return entry
        }
    }
}

/// Why a model cannot be converted to another opset version.
public enum OpsetError: GraftError, Equatable {
    /// A node that the target version cannot express.
    public struct Refusal: Sendable, Equatable {
        /// The node.
        public let node: String
        /// Its operator.
        public let op: OperatorName
        /// Why.
        public let reason: String
    }

    /// The version is not one of those that are converted.
    case outside(version: Int)
    /// The model imports no version of ONNX's own operators.
    case noVersion
    /// Some nodes cannot be expressed.
    case notExpressible(target: Int, nodes: [Refusal])

    public var exitStatus: ExitStatus { .badInput }
    public var description: String {
        switch self {
        case .outside(let version):
            "opset \(version) is outside \(OpsetConversion.versions.lowerBound) to "
                + "\(OpsetConversion.versions.upperBound), the versions that are converted"
        case .noVersion: "the model does not say which version of ONNX's operators it uses"
        case .notExpressible(let target, let nodes):
            "opset \(target) cannot express the model: "
                + nodes.prefix(8).map { "node \"\($0.node)\" (\($0.op)): \($0.reason)" }.joined(separator: "; ")
                + (nodes.count > 8 ? "; and \(nodes.count - 8) more" : "")
        }
    }
}
