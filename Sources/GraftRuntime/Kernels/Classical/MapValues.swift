import GraftCore
import GraftIR

/// CastMap, DictVectorizer and ZipMap: operators on maps.
enum MapKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("CastMap", domain: classicalDomain, prepare: { try MapCast($0) }, run: { try $0.run($1) }),
            .function(
                "DictVectorizer", domain: classicalDomain,
                prepare: { node -> LabelList in
                    if case .strings(let texts)? = node.attributes["string_vocabulary"] { return .texts(texts) }
                    if case .ints(let numbers)? = node.attributes["int64_vocabulary"] { return .integers(numbers) }
                    throw KernelFailure("neither string_vocabulary nor int64_vocabulary is given")
                }, run: { try vectorize($1, $0) }),
            .function(
                "ZipMap", domain: classicalDomain,
                prepare: { try ClassLabels($0.attributes, integers: "classlabels_int64s") },
                run: { try zip($1, $0) }),
        ]
    }

    /// The parts of the map that is an input.
    private static func parts(_ context: KernelContext) throws -> (keys: LabelList, values: LabelList) {
        guard case .map(let keys, let values) = try context.value(0) else {
            throw KernelFailure("the input is no map")
        }
        let lists = (try list(keys, context), try list(values, context))
        guard lists.0.count == lists.1.count else { throw KernelFailure("a map with keys that have no value") }
        return lists
    }

    private static func list(_ value: RuntimeValue, _ context: KernelContext) throws -> LabelList {
        switch value {
        case .strings(let texts): return .texts(texts.elements)
        case .tensor(let tensor):
            let plain = try context.reordered(tensor, .rowMajor)
            switch plain.elementType {
            case .int64: return .integers(Array(UnsafeBufferPointer(start: plain.int64s, count: plain.count)))
            case .float32: return .floats(Array(UnsafeBufferPointer(start: plain.floats, count: plain.count)))
            case .float64:
                return .doubles(Array(UnsafeBufferPointer(start: plain.typed(Double.self), count: plain.count)))
            case let type: throw KernelFailure("a map with elements of type \(type.name)")
            }
        case .sequence, .optional, .map: throw KernelFailure("a map whose parts are not tensors")
        }
    }

    private static func vectorize(_ context: KernelContext, _ vocabulary: LabelList) throws {
        let (keys, values) = try parts(context)
        let places: [Int?]
        switch (vocabulary, keys) {
        case (.texts(let words), .texts(let given)):
            let table = Dictionary(Swift.zip(given, given.indices), uniquingKeysWith: { $1 })
            places = words.map { table[$0] }
        case (.integers(let words), .integers(let given)):
            let table = Dictionary(Swift.zip(given, given.indices), uniquingKeysWith: { $1 })
            places = words.map { table[$0] }
        default: throw KernelFailure("the keys are of type \(keys.elementType.name), the vocabulary is not")
        }
        let shape = [1, places.count]
        switch values {
        case .texts(let list):
            context.set(0, .strings(StringTensor(shape: shape, elements: places.map { $0.map { list[$0] } ?? [] })))
        case .integers(let list): try write(places, list, shape, context)
        case .floats(let list): try write(places, list, shape, context)
        case .doubles(let list): try write(places, list, shape, context)
        case .shorts, .words: throw KernelFailure("values of type \(values.elementType.name)")
        }
    }

    private static func write<T: TensorElement & Numeric>(
        _ places: [Int?], _ list: [T], _ shape: [Int], _ context: KernelContext
    ) throws {
        let y = try context.output(0, T.elementType, shape).typed(T.self)
        for (index, place) in places.enumerated() { y[index] = place.map { list[$0] } ?? 0 }
    }

    private static func zip(_ context: KernelContext, _ labels: ClassLabels) throws {
        let (x, rows, columns) = try context.featureRows()
        guard columns == labels.count else { throw KernelFailure("\(columns) columns for \(labels.count) classes") }
        let keys: RuntimeValue
        switch labels {
        case .texts(let texts): keys = .strings(StringTensor(shape: [texts.count], elements: texts))
        case .integers(let numbers):
            let tensor = try context.temporary(.int64, [numbers.count])
            for (index, number) in numbers.enumerated() { tensor.int64s[index] = number }
            keys = .tensor(tensor)
        }
        let maps = (0..<rows).map { row in
            RuntimeValue.map(keys: keys, values: .tensor(x.part(startingAt: row * columns, [columns])))
        }
        context.set(0, .sequence(maps))
    }

    private struct MapCast {
        private enum Target: String { case float = "TO_FLOAT", text = "TO_STRING", integer = "TO_INT64" }

        private let target: Target
        private let width: Int?

        init(_ node: KernelNode) throws {
            let name = node.attributes.string("cast_to") ?? "TO_FLOAT"
            let form = node.attributes.string("map_form") ?? "DENSE"
            guard let target = Target(rawValue: name), form == "DENSE" || form == "SPARSE" else {
                throw KernelFailure("cast_to is \"\(name)\", map_form is \"\(form)\"")
            }
            self.target = target
            width = form == "SPARSE" ? node.attributes.int("max_map") ?? 1 : nil
            if let width, width < 1 || width > 1 << 24 { throw KernelFailure("max_map is \(width)") }
        }

        func run(_ context: KernelContext) throws {
            let (keys, values) = try parts(context)
            guard case .integers(let numbers) = keys else { throw KernelFailure("the keys are not whole numbers") }
            let order = numbers.indices.sorted { numbers[$0] < numbers[$1] }
            var places: [Int?] = order
            if let width {
                places = Array(repeating: nil, count: width)
                for index in order {
                    guard numbers[index] >= 0, numbers[index] < width else {
                        throw KernelFailure("the key \(numbers[index]) lies outside 0..<\(width)")
                    }
                    places[Int(numbers[index])] = index
                }
            }
            let shape = [1, places.count]
            switch target {
            case .float:
                let y = try context.output(0, .float32, shape).floats
                for (index, place) in places.enumerated() { y[index] = try place.map { try float(values, $0) } ?? 0 }
            case .integer:
                let y = try context.output(0, .int64, shape).int64s
                for (index, place) in places.enumerated() { y[index] = try place.map { try integer(values, $0) } ?? 0 }
            case .text:
                let elements = try places.map { try $0.map { try text(values, $0) } ?? Array("0.f".utf8) }
                context.set(0, .strings(StringTensor(shape: shape, elements: elements)))
            }
        }

        private func float(_ values: LabelList, _ index: Int) throws -> Float {
            switch values {
            case .floats(let list): return list[index]
            case .texts(let list):
                guard let number = Float(String(decoding: list[index], as: UTF8.self)) else {
                    throw KernelFailure("a text that is no number")
                }
                return number
            default: throw KernelFailure("values of type \(values.elementType.name)")
            }
        }

        private func integer(_ values: LabelList, _ index: Int) throws -> Int64 {
            switch values {
            case .floats(let list):
                guard let number = Int64(exactly: list[index].rounded(.towardZero)) else {
                    throw KernelFailure("\(list[index]) is no whole number")
                }
                return number
            case .texts(let list):
                guard let number = Int64(String(decoding: list[index], as: UTF8.self)) else {
                    throw KernelFailure("a text that is no whole number")
                }
                return number
            default: throw KernelFailure("values of type \(values.elementType.name)")
            }
        }

        private func text(_ values: LabelList, _ index: Int) throws -> [UInt8] {
            switch values {
            case .texts(let list): return list[index]
            case .floats(let list): return Self.fixed(Double(list[index]))
            default: throw KernelFailure("values of type \(values.elementType.name)")
            }
        }

        /// The number with six digits after the point.
        private static func fixed(_ value: Double) -> [UInt8] {
            guard value.isFinite else { return Array("\(value)".utf8) }
            let scaled = (abs(value) * 1e6).rounded(.toNearestOrEven)
            guard scaled < 9e18 else { return Array("\(value.rounded())".utf8) }
            let digits = String(Int64(scaled))
            let padded = String(repeating: "0", count: max(0, 7 - digits.count)) + digits
            return Array("\(value.sign == .minus ? "-" : "")\(padded.dropLast(6)).\(padded.suffix(6))".utf8)
        }
    }
}
