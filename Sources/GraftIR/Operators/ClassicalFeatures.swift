import GraftCore

/// The domain of classical machine learning in ONNX.
public let classicalDomain = "ai.onnx.ml"

/// Operators of classical machine learning that prepare features: scaling, encoding of categories, maps.
enum ClassicalFeatures: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        schema("ArrayFeatureExtractor", inputs: 2...2) { context in
            guard let shape = context.shape(0) else {
                context.setTensor(context.elementType(0), nil)
                return
            }
            let counts = context.shape(1)?.counts
            let extent = counts.flatMap { Checked.product($0) }.map { Extent.fixed($0) } ?? .unknown
            let leading = shape.rank <= 1 ? [.fixed(1)] : Array(shape.extents.dropLast())
            context.setTensor(context.elementType(0), SymbolicShape(extents: leading + [extent]))
        },
        schema("Binarizer", inference: CommonInference.likeFirst),
        schema("CastMap") { context in
            let types: [String: ElementType] = ["TO_FLOAT": .float32, "TO_STRING": .string, "TO_INT64": .int64]
            let name = try context.reader.string("cast_to") ?? "TO_FLOAT"
            let isSparse = try context.reader.string("map_form") == "SPARSE"
            let width = isSparse ? Extent.fixed(try context.reader.int("max_map", default: 1)) : .unknown
            context.setTensor(types[name], SymbolicShape(extents: [.fixed(1), width]))
        },
        schema("CategoryMapper") { context in
            context.setLike(0, elementType: context.elementType(0).map { $0 == .string ? .int64 : .string })
        },
        schema("DictVectorizer") { context in
            let width =
                try context.reader.strings("string_vocabulary")?.count ?? context.reader.ints("int64_vocabulary")?.count
            var type: ElementType?
            if case .map(_, let value)? = context.type(0)?.kind { type = value?.elementType }
            context.setTensor(type, SymbolicShape(extents: [.fixed(1), width.map { .fixed($0) } ?? .unknown]))
        },
        schema("FeatureVectorizer", inputs: 1...OperatorSchema.many) { context in
            let widths = try context.reader.ints("inputdimensions") ?? []
            let total = widths.reduce(0) { $0.addingReportingOverflow($1).partialValue }
            let rows = context.shape(0)?.rank == 2 ? context.shape(0)?.extents.first : nil
            context.setTensor(.float32, SymbolicShape(extents: [rows ?? .unknown, .fixed(total)]))
        },
        schema("Imputer", inference: CommonInference.likeFirst),
        schema("LabelEncoder", versions: [1, 2, 4]) { context in
            context.setLike(0, elementType: try encodedType(context))
        },
        schema("Normalizer", inference: CommonInference.likeFirst(.float32)),
        schema("OneHotEncoder") { context in
            let count =
                try context.reader.ints("cats_int64s")?.count ?? context.reader.strings("cats_strings")?.count ?? 0
            context.setTensor(
                .float32, context.shape(0).map { SymbolicShape(extents: $0.extents + [.fixed(count)]) })
        },
        schema("Scaler", inference: CommonInference.likeFirst(.float32)),
        schema("ZipMap") { context in
            let key: ElementType = context.reader.has("classlabels_strings") ? .string : .int64
            context.setType(ValueType(.sequence(ValueType(.map(key, .tensor(.float32, []))))))
        },
    ]

    static func schema(
        _ type: String, versions: [Int] = [1], inputs: ClosedRange<Int> = 1...1, outputs: ClosedRange<Int> = 1...1,
        inference: @escaping OperatorSchema.InferenceRule
    ) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type, domain: classicalDomain), versions: versions, inputs: inputs, outputs: outputs,
            gradient: .unsupported(reason: "operators of \(classicalDomain) have no gradient rule"),
            inference: inference)
    }

    private static func encodedType(_ context: InferenceContext) throws -> ElementType? {
        let reader = context.reader
        if context.opset < 2 { return context.elementType(0).map { $0 == .string ? .int64 : .string } }
        if let tensor = try reader.tensor("values_tensor") { return tensor.elementType }
        if reader.has("values_strings") { return .string }
        if reader.has("values_int64s") { return .int64 }
        return reader.has("values_floats") ? .float32 : nil
    }
}
