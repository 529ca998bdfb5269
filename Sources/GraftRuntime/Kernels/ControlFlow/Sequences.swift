import GraftCore
import GraftIR

/// Sequences: made, changed, taken apart, and joined to tensors.
enum SequenceKernels: KernelFamily {
    /// The most elements that a sequence may have: a loop of a hostile file would fill memory with them.
    private static let limit = 1 << 24

    static var definitions: [KernelDefinition] {
        [
            .function("SequenceConstruct") { context in
                context.set(0, .sequence(try (0..<context.inputCount).map { try context.take($0) }))
            },
            .function("SequenceEmpty") { $0.set(0, .sequence([])) },
            .function("SequenceInsert") { context in
                let position = try position(context, 2)
                let value = try context.take(1)
                var elements = try elements(context.take(0))
                guard elements.count < limit else { throw KernelFailure("a sequence of more than \(limit) elements") }
                elements.insert(value, at: try index(position, count: elements.count, allowsEnd: true))
                context.set(0, .sequence(elements))
            },
            .function("SequenceErase") { context in
                let position = try position(context, 1) ?? -1
                var elements = try elements(context.take(0))
                elements.remove(at: try index(position, count: elements.count, allowsEnd: false))
                context.set(0, .sequence(elements))
            },
            .function("SequenceAt") { context in
                let position = try position(context, 1)
                let elements = try elements(context.value(0))
                context.set(0, elements[try index(position, count: elements.count, allowsEnd: false)])
            },
            .function("SequenceLength") { context in
                let count = try elements(context.value(0)).count
                try context.output(0, .int64, []).int64s.pointee = Int64(count)
            },
            .function(
                "SplitToSequence",
                prepare: { ($0.attributes.int("axis") ?? 0, $0.attributes.int("keepdims") ?? 1 != 0) },
                run: { try split($1, axis: $0.0, keeps: $0.1) }),
            .function(
                "ConcatFromSequence",
                prepare: { node in
                    guard let axis = node.attributes.int("axis") else { throw KernelFailure("axis is missing") }
                    return (axis, node.attributes.int("new_axis") ?? 0 != 0)
                },
                run: { try concat($1, axis: $0.0, isNew: $0.1) }),
        ]
    }

    private static func elements(_ value: RuntimeValue) throws -> [RuntimeValue] {
        guard case .sequence(let elements) = value else { throw KernelFailure("the input is no sequence") }
        return elements
    }

    private static func position(_ context: KernelContext, _ input: Int) throws -> Int? {
        guard context.has(input) else { return nil }
        guard let position = try context.integers(input).first, try context.input(input).count == 1 else {
            throw KernelFailure("a position must be one integer")
        }
        return position
    }

    /// The index that a possibly negative position names; the end where there is none.
    private static func index(_ position: Int?, count: Int, allowsEnd: Bool) throws -> Int {
        guard let position else { return count }
        let index = position < 0 ? position &+ count : position
        guard index >= 0, index < count || (allowsEnd && index == count) else {
            throw KernelFailure("the position \(position) in a sequence of \(count)")
        }
        return index
    }

    // MARK: Sequences and tensors

    private static func split(_ context: KernelContext, axis givenAxis: Int, keeps: Bool) throws {
        let value = try context.value(0)
        guard let shape = value.shape, !shape.isEmpty else { throw KernelFailure("a scalar cannot be split") }
        let axis = try normalizedAxis(givenAxis, rank: shape.count)
        guard context.has(1) || shape[axis] <= limit else {
            throw KernelFailure("a sequence of more than \(limit) elements")
        }
        var lengths = [Int](repeating: 1, count: context.has(1) ? 0 : shape[axis])
        if context.has(1) {
            let sizes = try context.integers(1)
            guard sizes.allSatisfy({ $0 >= 0 }) else { throw KernelFailure("the lengths \(sizes)") }
            if try context.input(1).rank == 0 {
                guard let size = sizes.first, size > 0 else { throw KernelFailure("parts of length 0") }
                let (whole, rest) = shape[axis].quotientAndRemainder(dividingBy: size)
                guard whole < limit else { throw KernelFailure("a sequence of more than \(limit) elements") }
                lengths = Array(repeating: size, count: whole) + (rest > 0 ? [rest] : [])
            } else {
                guard sizes.reduce(0, { Checked.sum($0, $1) ?? .max }) == shape[axis] else {
                    throw KernelFailure("the lengths \(sizes) do not add up to \(shape[axis])")
                }
                lengths = sizes
            }
        }
        let drops = !keeps && !context.has(1)
        var parts: [RuntimeValue] = []
        var start = 0
        for length in lengths {
            var partShape = shape
            partShape[axis] = length
            let part = try SequenceParts.part(value, axis: axis, start: start, length: length, context)
            if drops { partShape.remove(at: axis) }
            parts.append(part.viewed(partShape))
            start += length
        }
        context.set(0, .sequence(parts))
    }

    private static func concat(_ context: KernelContext, axis givenAxis: Int, isNew: Bool) throws {
        let elements = try elements(context.value(0))
        guard let first = elements.first, let shape = first.shape else {
            throw KernelFailure("the sequence has no tensors")
        }
        var axis = givenAxis < 0 ? givenAxis + shape.count + (isNew ? 1 : 0) : givenAxis
        guard axis >= 0, axis < shape.count + (isNew ? 1 : 0) else { throw KernelFailure("the axis \(givenAxis)") }
        axis = max(0, axis)
        let parts = try elements.map { element -> RuntimeValue in
            guard var own = element.shape, own.count == shape.count, element.elementType == first.elementType,
                isNew ? own == shape : own.indices.allSatisfy({ $0 == axis || own[$0] == shape[$0] })
            else { throw KernelFailure("the elements have different types or shapes") }
            let plain = try SequenceParts.plain(element, context)
            if isNew { own.insert(1, at: axis) }
            return plain.viewed(own)
        }
        context.set(0, try SequenceParts.joined(parts, axis: axis, context))
    }
}
