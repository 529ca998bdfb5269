import GraftCore

/// Trained models of classical machine learning: linear models, support vectors, ensembles of trees.
enum ClassicalModels: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        classifier("LinearClassifier"),
        regressor("LinearRegressor", targets: "targets"),
        classifier("SVMClassifier"),
        regressor("SVMRegressor", targets: nil),
        ClassicalFeatures.schema("TreeEnsemble", versions: [5]) { context in
            context.setTensor(context.elementType(0), try rows(&context, by: context.reader.int("n_targets")))
        },
        classifier("TreeEnsembleClassifier", versions: [1, 3, 5]),
        regressor("TreeEnsembleRegressor", versions: [1, 3, 5], targets: "n_targets"),
    ]

    private static func rows(_ context: inout InferenceContext, by columns: Int?) throws -> SymbolicShape {
        if let rank = context.shape(0)?.rank, rank == 0 || rank > 2 {
            throw context.failure("the input must have one or two axes, but its shape is \(context.shapeText(0))")
        }
        let shape = context.shape(0)
        let count: Extent = shape?.rank == 1 ? .fixed(1) : shape?.extents.first ?? .unknown
        return SymbolicShape(extents: [count, columns.map { .fixed($0) } ?? .unknown])
    }

    private static func classifier(_ type: String, versions: [Int] = [1]) -> OperatorSchema {
        ClassicalFeatures.schema(type, versions: versions, outputs: 2...2) { context in
            let scores = try rows(&context, by: nil)
            let hasTexts = !(try context.reader.strings("classlabels_strings") ?? []).isEmpty
            context.setTensor(hasTexts ? .string : .int64, SymbolicShape([scores[0]]))
            context.setTensor(.float32, scores, of: 1)
        }
    }

    private static func regressor(_ type: String, versions: [Int] = [1], targets: String?) -> OperatorSchema {
        ClassicalFeatures.schema(type, versions: versions) { context in
            let columns = try targets.map { try context.reader.int($0, default: 1) } ?? 1
            context.setTensor(.float32, try rows(&context, by: columns))
        }
    }
}
