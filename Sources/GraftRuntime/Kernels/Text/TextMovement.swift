import GraftCore
import GraftIR

/// Lets kernels that move numbers move texts: a number stands for each text while the kernel runs.
///
/// The numbers are the ranks of the texts in their order, the empty text having 0, so that kernels which compare, sort
/// or fill up with zeros come to the right result too.
final class TextMovement: Kernel {
    /// Which inputs and outputs of an operator hold texts together.
    private struct Roles {
        /// The inputs; all where nil.
        let inputs: [Int]?
        /// The outputs; all where nil.
        let outputs: [Int]?
    }

    private static let roles: [String: Roles] = {
        var result: [String: Roles] = [:]
        for op in [
            "Transpose", "Slice", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Gather", "GatherElements",
            "GatherND", "Compress", "ReverseSequence", "Unique", "Trilu", "CenterCropPad",
        ] {
            result[op] = Roles(inputs: [0], outputs: [0])
        }
        for op in ["Scatter", "ScatterElements", "ScatterND", "Pad"] {
            result[op] = Roles(inputs: [0, 2], outputs: [0])
        }
        result["TensorScatter"] = Roles(inputs: [0, 1], outputs: [0])
        result["OneHot"] = Roles(inputs: [2], outputs: [0])
        result["Where"] = Roles(inputs: [1, 2], outputs: [0])
        result["Concat"] = Roles(inputs: nil, outputs: [0])
        result["Split"] = Roles(inputs: [0], outputs: nil)
        result["Equal"] = Roles(inputs: [0, 1], outputs: [])
        return result
    }()

    private let inner: any Kernel
    private let roles: Roles

    private init(_ inner: any Kernel, _ roles: Roles) {
        self.inner = inner
        self.roles = roles
    }

    /// The kernel, made able to take texts where its operator may be given some.
    static func wrap(_ kernel: any Kernel, _ node: KernelNode) -> any Kernel {
        guard node.op.canonicalDomain.isEmpty, let roles = roles[node.op.type] else { return kernel }
        let inputs = roles.inputs ?? Array(0..<node.inputCount)
        let mayHoldTexts = inputs.contains { input in
            guard node.has(input) else { return false }
            return node.inputTypes[input]?.elementType.map { $0 == .string } ?? true
        }
        return mayHoldTexts ? TextMovement(kernel, roles) : kernel
    }

    func run(_ context: KernelContext) throws {
        let inputs = roles.inputs ?? Array(0..<context.inputCount)
        guard try inputs.contains(where: { try context.has($0) && context.value($0).elementType == .string }) else {
            return try inner.run(context)
        }
        var given: [(index: Int, strings: StringTensor)] = []
        for index in inputs where context.has(index) { given.append((index, try context.strings(index))) }
        var distinct: Set<[UInt8]> = [[]]
        for (_, strings) in given { distinct.formUnion(strings.elements) }
        let texts = distinct.sorted { $0.lexicographicallyPrecedes($1) }
        let ranks = Dictionary(uniqueKeysWithValues: texts.enumerated().map { ($1, Int64($0)) })
        for (index, strings) in given {
            let numbers = try context.temporary(.int64, strings.shape)
            for (position, text) in strings.elements.enumerated() { numbers.int64s[position] = ranks[text] ?? 0 }
            context.replaceInput(index, numbers)
        }
        try inner.run(context)
        for index in roles.outputs ?? Array(0..<context.outputCount) {
            guard case .tensor(let output)? = context.output(at: index) else { continue }
            let plain = try context.reordered(output, .rowMajor)
            let elements = try (0..<plain.count).map { position -> [UInt8] in
                let rank = Int(plain.int64s[position])
                guard texts.indices.contains(rank) else { throw KernelFailure("texts cannot be computed with") }
                return texts[rank]
            }
            context.set(index, .strings(StringTensor(shape: plain.shape, elements: elements)))
        }
    }
}
