import GraftCore
import GraftIR

extension KernelContext {
    /// Runs a kernel that only moves elements on texts: it sees 64-bit numbers that stand for them, in their order.
    ///
    /// 0 stands for the empty text, so that memory filled with zeros is right. Output 0 becomes texts again where an
    /// input was.
    func movingStrings(_ run: (KernelContext) throws -> Void) throws {
        let given = try (0..<inputCount).map { index -> StringTensor? in
            guard has(index), case .strings(let texts) = try value(index) else { return nil }
            return texts
        }
        guard given.contains(where: { $0 != nil }) else { return try run(self) }
        var pool = Set(given.compactMap { $0?.elements }.joined())
        pool.insert([])
        let texts = pool.sorted { $0.lexicographicallyPrecedes($1) }
        let numbers = Dictionary(uniqueKeysWithValues: texts.enumerated().map { ($1, Int64($0)) })
        for (index, tensor) in given.enumerated() {
            guard let tensor else { continue }
            let stand = try temporary(.int64, tensor.shape)
            for (position, element) in tensor.elements.enumerated() {
                stand.int64s[position] = numbers[element] ?? 0
            }
            replaceInput(index, stand)
        }
        try run(self)
        guard case .tensor(let moved)? = output(at: 0) else { return }
        let plain = try reordered(moved, .rowMajor)
        guard plain.elementType == .int64 else { throw KernelFailure("texts became \(plain.elementType.name)") }
        let elements = try (0..<plain.count).map { position -> [UInt8] in
            let number = Int(plain.int64s[position])
            guard texts.indices.contains(number) else { throw KernelFailure("texts cannot be computed with") }
            return texts[number]
        }
        set(0, .strings(StringTensor(shape: plain.shape, elements: elements)))
    }
}

extension KernelDefinition {
    /// A kernel that only moves elements, texts as well.
    static func moving<Settings>(
        _ type: String, opsets: ClosedRange<Int> = 1...KernelRegistry.newestOpset,
        prepare: @escaping @Sendable (KernelNode) throws -> Settings,
        run: @escaping @Sendable (Settings, KernelContext) throws -> Void
    ) -> KernelDefinition {
        .function(
            type, opsets: opsets, prepare: prepare,
            run: { settings, context in try context.movingStrings { try run(settings, $0) } })
    }
}

/// What is done with elements of which only the width matters.
protocol WidthTask {
    func run<T: BitwiseCopyable>(_ type: T.Type) throws
}

extension WidthTask {
    /// Runs the task with a type as wide as the elements.
    func run(width type: ElementType) throws {
        switch type.byteWidth {
        case 1: try run(UInt8.self)
        case 2: try run(UInt16.self)
        case 4: try run(UInt32.self)
        case 8: try run(UInt64.self)
        case 16: try run(SIMD2<UInt64>.self)
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }
}
