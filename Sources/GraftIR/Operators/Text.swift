import GraftCore

/// Operators on texts, and the decoder of pictures.
enum Text: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "StringConcat", versions: [20], inputs: 2...2, gradient: .none, inference: CommonInference.broadcast),
        OperatorSchema(
            "StringNormalizer", versions: [10], inputs: 1...1, gradient: .none,
            inference: { context in
                guard var shape = context.shape(0)?.plain else {
                    context.setTensor(.string, nil)
                    return
                }
                guard let last = shape.dimensions.indices.last else {
                    throw context.failure("the input must have one or two axes, but is a scalar")
                }
                // Stop words are taken out.
                shape[last].extent = .unknown
                context.setTensor(.string, shape)
            }),
        OperatorSchema(
            "StringSplit", versions: [20], inputs: 1...1, outputs: 2...2, gradient: .none,
            inference: { context in
                context.setTensor(.string, context.shape(0).map { SymbolicShape(extents: $0.extents + [.unknown]) })
                context.setTensor(.int64, context.shape(0)?.plain, of: 1)
            }),
        OperatorSchema(
            "RegexFullMatch", versions: [20], inputs: 1...1, gradient: .none,
            inference: CommonInference.likeFirst(.bool)),
        OperatorSchema(
            "TfIdfVectorizer", versions: [9], inputs: 1...1, gradient: .none,
            inference: { context in
                let columns = (try context.reader.ints("ngram_indexes") ?? []).max().map { $0 + 1 }
                let extent = columns.map { Extent.fixed($0) } ?? .unknown
                let shape = context.shape(0).map { SymbolicShape(extents: Array($0.extents.dropLast()) + [extent]) }
                context.setTensor(.float32, shape)
            }),
        OperatorSchema(
            "ImageDecoder", versions: [20], inputs: 1...1, gradient: .none,
            inference: { context in
                let format = try context.reader.string("pixel_format") ?? "RGB"
                context.setTensor(
                    .uint8, SymbolicShape(extents: [.unknown, .unknown, .fixed(format == "Grayscale" ? 1 : 3)]))
            }),
    ]
}
