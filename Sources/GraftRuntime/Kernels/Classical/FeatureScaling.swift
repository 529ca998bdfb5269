import GraftCore
import GraftIR

/// ArrayFeatureExtractor, Binarizer, FeatureVectorizer, Imputer, Normalizer and Scaler.
enum FeatureScalingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("ArrayFeatureExtractor", domain: classicalDomain) { try extract($0) },
            .function(
                "Binarizer", domain: classicalDomain, prepare: { $0.attributes.float("threshold") ?? 0 },
                run: { try binarize($1, $0) }),
            .function(
                "FeatureVectorizer", domain: classicalDomain,
                prepare: { node -> [Int] in
                    let widths = node.attributes.ints("inputdimensions") ?? []
                    guard widths.count == node.inputCount, widths.allSatisfy({ $0 >= 0 }) else {
                        throw KernelFailure("inputdimensions is \(widths) for \(node.inputCount) inputs")
                    }
                    return widths
                }, run: { try vectorize($1, $0) }),
            .function(
                "Imputer", domain: classicalDomain, prepare: { ImputerSettings($0) }, run: { try impute($1, $0) }),
            .function(
                "Normalizer", domain: classicalDomain,
                prepare: { node -> Norm in
                    let name = node.attributes.string("norm") ?? "MAX"
                    guard let norm = Norm(rawValue: name) else { throw KernelFailure("norm is \"\(name)\"") }
                    return norm
                }, run: { try normalize($1, $0) }),
            .function(
                "Scaler", domain: classicalDomain,
                prepare: { ($0.attributes.floats("offset") ?? [], $0.attributes.floats("scale") ?? []) },
                run: { try scale($1, offset: $0.0, scale: $0.1) }),
        ]
    }

    private static func extract(_ context: KernelContext) throws {
        let shape = try context.value(0).shape ?? []
        guard let length = shape.last else { throw KernelFailure("a scalar") }
        let places = try context.integers(1)
        guard !places.isEmpty else { throw KernelFailure("no positions are given") }
        for place in places where place < 0 || place >= length {
            throw KernelFailure("the index \(place) lies outside an axis of length \(length)")
        }
        let rows = shape.dropLast().reduce(1, *)
        let outShape = (shape.count == 1 ? [1] : Array(shape.dropLast())) + [places.count]
        if case .strings(let texts) = try context.value(0) {
            let elements = (0..<rows).flatMap { row in places.map { texts.elements[row * length + $0] } }
            context.set(0, .strings(StringTensor(shape: outShape, elements: elements)))
            return
        }
        let x = try context.plain(0)
        let y = try context.output(0, x.elementType, outShape)
        let width = x.elementType.byteWidth
        guard width > 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        let (source, target) = (x.pointer, y.pointer)
        Parallel.forEachRange(rows, grain: max(1, 8192 / places.count)) { range in
            for row in range {
                for (column, place) in places.enumerated() {
                    (target + (row * places.count + column) * width)
                        .copyMemory(from: source + (row * length + place) * width, byteCount: width)
                }
            }
        }
    }

    private static func binarize(_ context: KernelContext, _ threshold: Float) throws {
        let x = try context.input(0)
        let y = try context.output(0, x.elementType, x.shape, layout: x.layout)
        switch x.elementType {
        case .float32: binarize(x.typed(Float.self), y.typed(Float.self), x.count) { $0 > threshold ? 1 : 0 }
        case .float64: binarize(x.typed(Double.self), y.typed(Double.self), x.count) { $0 > Double(threshold) ? 1 : 0 }
        case .int64: binarize(x.int64s, y.int64s, x.count) { Float($0) > threshold ? 1 : 0 }
        case .int32: binarize(x.typed(Int32.self), y.typed(Int32.self), x.count) { Float($0) > threshold ? 1 : 0 }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    @inline(__always)
    private static func binarize<T>(
        _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, _ count: Int, _ function: (T) -> T
    ) {
        Parallel.forEachRange(count, grain: 16384) { range in for index in range { y[index] = function(x[index]) } }
    }

    private static func vectorize(_ context: KernelContext, _ widths: [Int]) throws {
        var total = 0
        for width in widths {
            let (sum, overflow) = total.addingReportingOverflow(width)
            guard !overflow else { throw KernelFailure("inputdimensions is \(widths)") }
            total = sum
        }
        let count = try context.featureRows(0).rows
        let y = try context.output(0, .float32, [count, total])
        var start = 0
        for (index, width) in widths.enumerated() {
            let (x, rows, columns) = try context.featureRows(index)
            guard rows == count else { throw KernelFailure("input \(index) has \(rows) rows, input 0 has \(count)") }
            let (source, kept) = (x.floats, min(width, columns))
            for row in 0..<rows {
                let target = y.floats + row * total + start
                target.update(from: source + row * columns, count: kept)
                (target + kept).update(repeating: 0, count: width - kept)
            }
            start += width
        }
    }

    private struct ImputerSettings {
        let floats: [Float]
        let integers: [Int64]
        let replacedFloat: Float
        let replacedInteger: Int64

        init(_ node: KernelNode) {
            floats = node.attributes.floats("imputed_value_floats") ?? []
            integers = (node.attributes.ints("imputed_value_int64s") ?? []).map { Int64($0) }
            replacedFloat = node.attributes.float("replaced_value_float") ?? 0
            replacedInteger = Int64(node.attributes.int("replaced_value_int64") ?? 0)
        }
    }

    private static func impute(_ context: KernelContext, _ settings: ImputerSettings) throws {
        switch try context.plain(0).elementType {
        case .float32:
            let replaced = settings.replacedFloat
            try impute(Float.self, context, settings.floats) { $0 == replaced || ($0.isNaN && replaced.isNaN) }
        case .float64:
            let replaced = Double(settings.replacedFloat)
            try impute(Double.self, context, settings.floats.map { Double($0) }) {
                $0 == replaced || ($0.isNaN && replaced.isNaN)
            }
        case .int64:
            let replaced = settings.replacedInteger
            try impute(Int64.self, context, settings.integers) { $0 == replaced }
        case .int32:
            let values = settings.integers.map { Int32(truncatingIfNeeded: $0) }
            let replaced = settings.replacedInteger
            try impute(Int32.self, context, values) { Int64($0) == replaced }
        case let type: throw KernelFailure("elements of type \(type.name)")
        }
    }

    @inline(__always)
    private static func impute<T: TensorElement>(
        _ type: T.Type, _ context: KernelContext, _ values: [T], _ isMissing: (T) -> Bool
    ) throws {
        let x = try context.plain(0)
        let columns = x.shape.last ?? 1
        guard values.count == columns || values.count == 1 else {
            throw KernelFailure("there are \(values.count) values to put in for \(columns) columns")
        }
        let y = try context.output(0, T.elementType, x.shape)
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        Parallel.forEachRange(x.count, grain: 16384) { range in
            for index in range {
                let value = source[index]
                target[index] = isMissing(value) ? values[values.count == 1 ? 0 : index % columns] : value
            }
        }
    }

    private enum Norm: String { case max = "MAX", sum = "L1", length = "L2" }

    private static func normalize(_ context: KernelContext, _ norm: Norm) throws {
        let (x, rows, columns) = try context.featureRows()
        let y = try context.output(0, .float32, x.shape)
        let (source, target) = (x.floats, y.floats)
        Parallel.forEachRange(rows, grain: max(1, 8192 / max(1, columns))) { range in
            for row in range {
                let (from, to) = (source + row * columns, target + row * columns)
                var total: Float = 0
                for column in 0..<columns {
                    switch norm {
                    case .max: total = Swift.max(total, abs(from[column]))
                    case .sum: total += abs(from[column])
                    case .length: total += from[column] * from[column]
                    }
                }
                if norm == .length { total = total.squareRoot() }
                for column in 0..<columns { to[column] = total == 0 ? from[column] : from[column] / total }
            }
        }
    }

    private static func scale(_ context: KernelContext, offset: [Float], scale: [Float]) throws {
        let x = try context.cast(context.plain(0), .float32)
        let columns = x.shape.last ?? 1
        for (name, values) in [("offset", offset), ("scale", scale)] where values.count > 1 {
            guard values.count == columns else {
                throw KernelFailure("\(name) has \(values.count) values for \(columns) columns")
            }
        }
        let offsets = offset.count == columns ? offset : Array(repeating: offset.first ?? 0, count: columns)
        let scales = scale.count == columns ? scale : Array(repeating: scale.first ?? 1, count: columns)
        let y = try context.output(0, .float32, x.shape)
        let (source, target) = (x.floats, y.floats)
        Parallel.forEachRange(x.count / max(1, columns), grain: max(1, 16384 / max(1, columns))) { range in
            for row in range {
                for column in 0..<columns {
                    let index = row * columns + column
                    target[index] = (source[index] - offsets[column]) * scales[column]
                }
            }
        }
    }
}
