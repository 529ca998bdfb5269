import GraftCore
import GraftIR

/// CategoryMapper, LabelEncoder and OneHotEncoder.
enum CategoryEncodingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "CategoryMapper", domain: classicalDomain,
                prepare: { node -> (byText: LabelTable, byNumber: LabelTable) in
                    let numbers = LabelList.integers((node.attributes.ints("cats_int64s") ?? []).map { Int64($0) })
                    let texts = LabelList.texts(LabelList.bytes(node.attributes, "cats_strings"))
                    return (
                        try LabelTable(texts, numbers, otherwise: .integers([Int64(defaultInteger(node))])),
                        try LabelTable(numbers, texts, otherwise: .texts([defaultText(node)]))
                    )
                },
                run: { tables, context in
                    try (context.value(0).elementType == .string ? tables.byText : tables.byNumber).encode(context)
                }),
            .function(
                "LabelEncoder", domain: classicalDomain, opsets: 1...1,
                prepare: { node -> (byText: LabelTable, byNumber: LabelTable) in
                    let texts = LabelList.texts(LabelList.bytes(node.attributes, "classes_strings"))
                    let numbers = LabelList.integers((0..<texts.count).map { Int64($0) })
                    return (
                        try LabelTable(texts, numbers, otherwise: .integers([Int64(defaultInteger(node))])),
                        try LabelTable(numbers, texts, otherwise: .texts([defaultText(node)]))
                    )
                },
                run: { tables, context in
                    try (context.value(0).elementType == .string ? tables.byText : tables.byNumber).encode(context)
                }),
            .function(
                "LabelEncoder", domain: classicalDomain, opsets: 2...KernelRegistry.newestOpset,
                prepare: { node in
                    guard let keys = try LabelList(node.attributes, "keys"),
                        let values = try LabelList(node.attributes, "values")
                    else { throw KernelFailure("the keys or the values are missing") }
                    // Version 4 says that the last of equal keys counts; before, onnxruntime takes the first.
                    return try LabelTable(
                        keys, values, otherwise: try otherwise(node, values), lastWins: node.opset >= 4)
                }, run: { try $0.encode($1) }),
            .function(
                "OneHotEncoder", domain: classicalDomain,
                prepare: { node -> OneHot in try OneHot(node) }, run: { try $0.run($1) }),
        ]
    }

    private static func defaultInteger(_ node: KernelNode) -> Int { node.attributes.int("default_int64") ?? -1 }

    private static func defaultText(_ node: KernelNode) -> [UInt8] {
        if case .string(let bytes)? = node.attributes["default_string"] { bytes } else { Array("_Unused".utf8) }
    }

    /// What a key that is not there becomes: one value of the type of the others.
    private static func otherwise(_ node: KernelNode, _ values: LabelList) throws -> LabelList {
        if let tensor = node.attributes.tensor("default_tensor") {
            guard let list = try LabelList(tensor), list.count == 1, list.elementType == values.elementType else {
                throw KernelFailure("default_tensor does not fit the values")
            }
            return list
        }
        switch values {
        case .texts: return .texts([defaultText(node)])
        case .integers: return .integers([Int64(defaultInteger(node))])
        case .floats: return .floats([node.attributes.float("default_float") ?? -0.0])
        case .doubles: return .doubles([-0.0])
        case .shorts: return .shorts([-1])
        case .words: return .words([-1])
        }
    }

    private struct OneHot {
        let count: Int
        let byText: [[UInt8]: Int]
        let byNumber: [Int64: Int]
        let allowsUnknown: Bool

        init(_ node: KernelNode) throws {
            let numbers = node.attributes.ints("cats_int64s") ?? []
            let texts = LabelList.bytes(node.attributes, "cats_strings")
            guard numbers.isEmpty != texts.isEmpty else {
                throw KernelFailure("exactly one of cats_int64s and cats_strings must name categories")
            }
            count = max(numbers.count, texts.count)
            byText = Dictionary(zip(texts, texts.indices), uniquingKeysWith: { $1 })
            byNumber = Dictionary(zip(numbers.map { Int64($0) }, numbers.indices), uniquingKeysWith: { $1 })
            allowsUnknown = node.attributes.int("zeros") ?? 1 != 0
        }

        func run(_ context: KernelContext) throws {
            let places: [Int?]
            let shape: [Int]
            if case .strings(let texts) = try context.value(0) {
                places = texts.elements.map { byText[$0] }
                shape = texts.shape
            } else {
                let x = try context.plain(0)
                shape = x.shape
                switch x.elementType {
                case .int64: places = (0..<x.count).map { byNumber[x.int64s[$0]] }
                case .int32: places = (0..<x.count).map { byNumber[Int64(x.typed(Int32.self)[$0])] }
                // A number with a fraction is cut to a whole one.
                case .float32:
                    places = (0..<x.count).map { Int64(exactly: x.floats[$0].rounded(.towardZero)) }.map(find)
                case .float64:
                    let values = x.typed(Double.self)
                    places = (0..<x.count).map { Int64(exactly: values[$0].rounded(.towardZero)) }.map(find)
                case let type: throw KernelFailure("elements of type \(type.name)")
                }
            }
            let y = try context.output(0, .float32, shape + [count])
            y.floats.update(repeating: 0, count: y.count)
            for (row, place) in places.enumerated() {
                if let place {
                    y.floats[row * count + place] = 1
                } else if !allowsUnknown {
                    throw KernelFailure("element \(row) is none of the categories")
                }
            }
        }

        private func find(_ number: Int64?) -> Int? { number.flatMap { byNumber[$0] } }
    }
}
