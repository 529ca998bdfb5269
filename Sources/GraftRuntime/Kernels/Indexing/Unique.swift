import GraftCore
import GraftIR

/// Unique.
enum UniqueKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("Unique") { node in
                let (axis, isSorted) = (node.attributes.int("axis"), node.attributes.int("sorted") ?? 1 != 0)
                return FunctionKernel { try unique($0, axis: axis, isSorted: isSorted) }
            }
        ]
    }

    private static func unique(_ context: KernelContext, axis: Int?, isSorted: Bool) throws {
        let type = try context.input(0).elementType
        if type == .float16 || type == .bfloat16 {
            // Exact both ways.
            context.replaceInput(0, try context.converted(context.input(0), .float32))
            try unique(context, axis: axis, isSorted: isSorted)
            guard case .tensor(let y)? = context.output(at: 0) else { return }
            return context.set(0, try context.converted(y, type))
        }
        switch type {
        case .float32: try unique(Float.self, context, axis, isSorted)
        case .float64: try unique(Double.self, context, axis, isSorted)
        case .int8: try unique(Int8.self, context, axis, isSorted)
        case .int16: try unique(Int16.self, context, axis, isSorted)
        case .int32: try unique(Int32.self, context, axis, isSorted)
        case .int64: try unique(Int64.self, context, axis, isSorted)
        case .uint8, .bool: try unique(UInt8.self, context, axis, isSorted)
        case .uint16: try unique(UInt16.self, context, axis, isSorted)
        case .uint32: try unique(UInt32.self, context, axis, isSorted)
        case .uint64: try unique(UInt64.self, context, axis, isSorted)
        // Complex numbers are ordered by their real parts, then by their imaginary parts.
        case .complex64: try unique(Float.self, context, axis, isSorted, parts: 2)
        case .complex128: try unique(Double.self, context, axis, isSorted, parts: 2)
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }

    /// - Parameter parts: the numbers that make up an element.
    private static func unique<T: OrderedElement>(
        _ type: T.Type, _ context: KernelContext, _ givenAxis: Int?, _ isSorted: Bool, parts: Int = 1
    ) throws {
        var x = try context.plain(0)
        if givenAxis == nil { x = x.viewed([x.count]) }
        guard x.rank > 0 else { throw KernelFailure("a scalar has no axis") }
        let axis = try normalizedAxis(givenAxis ?? 0, rank: x.rank)
        let (outer, length, elements) = x.around(axis)
        let inner = elements * parts
        let source = UnsafePointer(x.typed(T.self))

        // The slices in ascending order, equal ones in the order of the input.
        let order = sorted(length) { a, b in
            for row in 0..<outer {
                let (left, right) = (source + (row * length + a) * inner, source + (row * length + b) * inner)
                for column in 0..<inner {
                    if T.precedes(left[column], right[column]) { return true }
                    if T.precedes(right[column], left[column]) { return false }
                }
            }
            return a < b
        }
        func isEqual(_ a: Int, _ b: Int) -> Bool {
            for row in 0..<outer {
                let (left, right) = (source + (row * length + a) * inner, source + (row * length + b) * inner)
                for column in 0..<inner
                where T.precedes(left[column], right[column]) || T.precedes(right[column], left[column]) {
                    return false
                }
            }
            return true
        }
        // The groups of equal slices: where each is met first, and how often.
        var firsts: [Int] = []
        var counts: [Int] = []
        var groups = [Int](repeating: 0, count: length)
        for (position, slice) in order.enumerated() {
            if position > 0, isEqual(order[position - 1], slice) {
                counts[counts.count - 1] += 1
            } else {
                firsts.append(slice)
                counts.append(1)
            }
            groups[slice] = firsts.count - 1
        }
        if !isSorted {
            let byPlace = firsts.indices.sorted { firsts[$0] < firsts[$1] }
            var renamed = [Int](repeating: 0, count: firsts.count)
            for (new, old) in byPlace.enumerated() { renamed[old] = new }
            firsts = byPlace.map { firsts[$0] }
            counts = byPlace.map { counts[$0] }
            groups = groups.map { renamed[$0] }
        }

        var shape = x.shape
        shape[axis] = firsts.count
        let y = try context.output(0, x.elementType, shape)
        let target = y.typed(T.self)
        for row in 0..<outer {
            for (place, slice) in firsts.enumerated() {
                (target + (row * firsts.count + place) * inner).update(
                    from: source + (row * length + slice) * inner, count: inner)
            }
        }
        for (output, values) in [(1, firsts), (2, groups), (3, counts)] where output < context.outputCount {
            let tensor = try context.output(output, .int64, [values.count])
            for (index, value) in values.enumerated() { tensor.int64s[index] = Int64(value) }
        }
    }

    /// The numbers below a bound in an order without ties: parts are sorted side by side, then merged.
    private static func sorted(_ count: Int, _ precedes: (Int, Int) -> Bool) -> [Int] {
        var order = Array(0..<count)
        let parts = count < 4096 ? 1 : Parallel.threads
        guard parts > 1 else {
            order.sort(by: precedes)
            return order
        }
        var bounds = (0...parts).map { count * $0 / parts }
        order.withUnsafeMutableBufferPointer { numbers in
            let base = numbers.baseAddress
            Parallel.forEachRange(parts) { range in
                for part in range {
                    var slice = UnsafeMutableBufferPointer(
                        start: base.map { $0 + bounds[part] }, count: bounds[part + 1] - bounds[part])
                    slice.sort(by: precedes)
                }
            }
        }
        while bounds.count > 2 {
            var merged: [Int] = []
            merged.reserveCapacity(count)
            var next = [0]
            for part in stride(from: 0, to: bounds.count - 1, by: 2) {
                let middle = bounds[part + 1]
                let end = part + 2 < bounds.count ? bounds[part + 2] : middle
                var (left, right) = (bounds[part], middle)
                while left < middle, right < end {
                    if precedes(order[right], order[left]) {
                        merged.append(order[right])
                        right += 1
                    } else {
                        merged.append(order[left])
                        left += 1
                    }
                }
                merged += order[left..<middle]
                merged += order[right..<end]
                next.append(end)
            }
            order = merged
            bounds = next
        }
        return order
    }
}
