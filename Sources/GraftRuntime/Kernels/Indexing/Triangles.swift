import GraftCore
import GraftIR

/// Trilu, EyeLike and OneHot.
enum TriangleKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Trilu", prepare: { $0.attributes.int("upper") ?? 1 != 0 }, run: triangle),
            .function(
                "EyeLike",
                prepare: { node in
                    (try node.elementTypeAttribute("dtype"), node.attributes.int("k") ?? 0)
                }, run: { settings, context in try diagonal(context, settings.0, offset: settings.1) }),
            .function("OneHot", prepare: { $0.attributes.int("axis") ?? -1 }, run: oneHot),
        ]
    }

    // MARK: Trilu

    private static func triangle(_ isUpper: Bool, _ context: KernelContext) throws {
        let x = try context.plain(0)
        guard x.rank >= 2 else { throw KernelFailure("an input with \(x.rank) axes") }
        let given = context.has(1) ? try context.integer(1) : 0
        let (rows, columns) = (x.shape[x.rank - 2], x.shape[x.rank - 1])
        // Beyond its corners a matrix has no more diagonals.
        let offset = max(-rows, min(columns, given))
        let y = try context.output(0, x.elementType, x.shape)
        let width = x.elementType.byteWidth
        guard width > 0 || x.count == 0 else { throw KernelFailure("elements of type \(x.elementType.name)") }
        guard x.count > 0 else { return }
        let (source, target) = (x.pointer, y.pointer)
        Parallel.forEachRange(x.count / columns, grain: max(1, 65536 / (columns * width))) { range in
            for line in range {
                let diagonal = line % rows + offset
                let kept =
                    isUpper
                    ? max(0, min(columns, diagonal))..<columns : 0..<max(0, min(columns, diagonal + 1))
                let start = line * columns * width
                let to = target + start
                to.initializeMemory(as: UInt8.self, repeating: 0, count: kept.lowerBound * width)
                (to + kept.lowerBound * width).copyMemory(
                    from: source + start + kept.lowerBound * width, byteCount: kept.count * width)
                (to + kept.upperBound * width).initializeMemory(
                    as: UInt8.self, repeating: 0, count: (columns - kept.upperBound) * width)
            }
        }
    }

    // MARK: EyeLike

    private static func diagonal(_ context: KernelContext, _ type: ElementType?, offset: Int) throws {
        let x = try context.input(0)
        guard x.rank == 2 else { throw KernelFailure("an input with \(x.rank) axes") }
        let type = type ?? x.elementType
        let y = try context.output(0, type, x.shape)
        y.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: y.byteCount)
        let one = try context.one(type)
        let width = type.byteWidth
        let (rows, columns) = (x.shape[0], x.shape[1])
        guard offset < columns, offset > -rows else { return }
        for row in max(0, -offset)..<max(max(0, -offset), min(rows, columns - offset)) {
            (y.pointer + (row * columns + row + offset) * width).copyMemory(from: one.pointer, byteCount: width)
        }
    }

    // MARK: OneHot

    private static func oneHot(_ givenAxis: Int, _ context: KernelContext) throws {
        let indices = try context.cast(context.plain(0), .int64)
        let depths = try context.cast(context.plain(1), .int64)
        let values = try context.plain(2)
        guard depths.count == 1, values.count == 2 else { throw KernelFailure("depth or values of another length") }
        let depth = Int(depths.int64s[0])
        guard depth >= 0 else { throw KernelFailure("a depth of \(depth)") }
        let axis = try normalizedAxis(givenAxis, rank: indices.rank + 1)
        let shape = Array(indices.shape[..<axis]) + [depth] + indices.shape[axis...]
        let y = try context.output(0, values.elementType, shape)
        let inner = indices.shape[axis...].reduce(1, *)
        try OneHotTask(indices: indices.int64s, values: values, y: y, depth: depth, inner: inner)
            .run(width: values.elementType)
    }

    private struct OneHotTask: WidthTask {
        let indices: UnsafeMutablePointer<Int64>
        let values: RuntimeTensor
        let y: RuntimeTensor
        let depth: Int
        let inner: Int

        /// An index out of range sets nothing.
        func run<T: BitwiseCopyable>(_ type: T.Type) {
            let (off, on, target) = (values.typed(T.self)[0], values.typed(T.self)[1], y.typed(T.self))
            guard y.count > 0 else { return }
            let block = depth * inner
            Parallel.forEachRange(y.count / block, grain: max(1, 16384 / block)) { range in
                for line in range {
                    let to = target + line * block
                    to.update(repeating: off, count: block)
                    for column in 0..<inner {
                        let index = Int(indices[line * inner + column])
                        let place = index < 0 ? index &+ depth : index
                        if place >= 0, place < depth { to[place * inner + column] = on }
                    }
                }
            }
        }
    }
}

extension KernelNode {
    /// The element type that an attribute names, where there is one.
    func elementTypeAttribute(_ name: String) throws -> ElementType? {
        guard let code = attributes.int(name) else { return nil }
        guard let value = Int32(exactly: code), let type = ElementType(rawValue: value) else {
            throw KernelFailure("the attribute \"\(name)\" names no type")
        }
        return type
    }
}

extension KernelContext {
    /// A tensor of one element that is 1.
    func one(_ type: ElementType) throws -> RuntimeTensor {
        let one = try temporary(.int64, [1])
        one.int64s[0] = 1
        return try cast(one, type)
    }
}
