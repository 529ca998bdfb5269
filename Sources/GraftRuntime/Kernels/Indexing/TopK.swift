import CNumerics
import GraftCore
import GraftIR

/// TopK.
enum TopKKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "TopK", widens: true,
                prepare: { node in
                    let k = node.opset < 10 ? node.attributes.int("k") : nil
                    if node.opset < 10, k == nil { throw KernelFailure("the attribute \"k\" is missing") }
                    return Settings(
                        axis: node.attributes.int("axis") ?? -1, k: k,
                        isLargest: node.attributes.int("largest") ?? 1 != 0)
                },
                run: { settings, context in
                    switch try context.input(0).elementType {
                    case .float32: try select(Float.self, settings, context)
                    case .float64: try select(Double.self, settings, context)
                    case .int8: try select(Int8.self, settings, context)
                    case .int16: try select(Int16.self, settings, context)
                    case .int32: try select(Int32.self, settings, context)
                    case .int64: try select(Int64.self, settings, context)
                    case .uint8: try select(UInt8.self, settings, context)
                    case .uint16: try select(UInt16.self, settings, context)
                    case .uint32: try select(UInt32.self, settings, context)
                    case .uint64: try select(UInt64.self, settings, context)
                    case let type: throw KernelFailure("elements of type \(type.name)")
                    }
                })
        ]
    }

    private struct Settings: Sendable {
        let axis: Int
        let k: Int?
        let isLargest: Bool
    }

    private static func select<T: OrderedElement>(
        _ type: T.Type, _ settings: Settings, _ context: KernelContext
    ) throws {
        let x = try context.plain(0)
        let axis = try normalizedAxis(settings.axis, rank: x.rank)
        let k = try settings.k ?? context.integer(1)
        let (outer, length, inner) = x.rank == 0 ? (1, 1, 1) : x.around(axis)
        guard k >= 0, k <= length else { throw KernelFailure("k is \(k) on an axis of length \(length)") }
        var shape = x.shape
        if !shape.isEmpty { shape[axis] = k }
        let values = try context.output(0, x.elementType, shape)
        let places = try context.output(1, .int64, shape)
        guard k > 0 else { return }
        let (source, best, indices) = (x.typed(T.self), values.typed(T.self), places.int64s)
        let isLargest = settings.isLargest
        Parallel.forEachRange(outer * inner, grain: max(1, 4096 / length)) { range in
            var heap = Heap<T>(capacity: k)
            defer { heap.deallocate() }
            for line in range {
                let from = source + (line / inner * length * inner + line % inner)
                if isLargest {
                    heap.fill(from, length, inner, isLargest: true) { T.precedes($1, $0) }
                } else {
                    heap.fill(from, length, inner, isLargest: false) { T.precedes($0, $1) }
                }
                let to = line / inner * k * inner + line % inner
                for position in 0..<k {
                    best[to + position * inner] = heap.values[position]
                    indices[to + position * inner] = heap.places[position]
                }
            }
        }
    }
}

/// Elements with an order for sorting: a NaN comes after all numbers.
protocol OrderedElement: BitwiseCopyable {
    static func precedes(_ a: Self, _ b: Self) -> Bool
}

extension OrderedElement where Self: FixedWidthInteger {
    @inline(__always) static func precedes(_ a: Self, _ b: Self) -> Bool { a < b }
}
extension OrderedElement where Self: BinaryFloatingPoint {
    @inline(__always) static func precedes(_ a: Self, _ b: Self) -> Bool { a < b || (b.isNaN && !a.isNaN) }
}
extension Float: OrderedElement {}
extension Double: OrderedElement {}
extension Int8: OrderedElement {}
extension Int16: OrderedElement {}
extension Int32: OrderedElement {}
extension Int64: OrderedElement {}
extension UInt8: OrderedElement {}
extension UInt16: OrderedElement {}
extension UInt32: OrderedElement {}
extension UInt64: OrderedElement {}

/// The best elements of a line so far, the worst of them on top.
private struct Heap<T: BitwiseCopyable> {
    // Invariant: both have room for `capacity` elements until `deallocate`.
    let values: UnsafeMutablePointer<T>
    let places: UnsafeMutablePointer<Int64>
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        values = .allocate(capacity: capacity)
        places = .allocate(capacity: capacity)
    }

    func deallocate() {
        values.deallocate()
        places.deallocate()
    }

    /// Finds the best elements of a line, at least as many as there is room for, and sorts them; of equal ones the
    /// earlier is better.
    @inline(__always)
    mutating func fill(
        _ source: UnsafePointer<T>, _ length: Int, _ step: Int, isLargest: Bool, _ isBetter: (T, T) -> Bool
    ) {
        for position in 0..<capacity {
            values[position] = source[position * step]
            places[position] = Int64(position)
        }
        for root in stride(from: capacity / 2 - 1, through: 0, by: -1) { sink(root, capacity, isBetter) }
        var position = capacity
        while position < length {
            if step == 1 { position += skipped(source + position, length - position, isLargest) }
            guard position < length else { break }
            if isBetter(source[position * step], values[0]) {
                values[0] = source[position * step]
                places[0] = Int64(position)
                sink(0, capacity, isBetter)
            }
            position += 1
        }
        for end in stride(from: capacity - 1, through: 1, by: -1) {
            swap(0, end)
            sink(0, end, isBetter)
        }
    }

    /// How many numbers are surely no better than the worst; 0 where nothing quick tells.
    @inline(__always)
    private func skipped(_ source: UnsafePointer<T>, _ count: Int, _ isLargest: Bool) -> Int {
        guard T.self == Float.self else { return 0 }
        return UnsafeRawPointer(source).withMemoryRebound(to: Float.self, capacity: count) { row in
            UnsafeRawPointer(values).withMemoryRebound(to: Float.self, capacity: 1) {
                crows_skip(row, count, $0.pointee, isLargest ? 1 : 0)
            }
        }
    }

    @inline(__always)
    private func swap(_ a: Int, _ b: Int) {
        (values[a], values[b]) = (values[b], values[a])
        (places[a], places[b]) = (places[b], places[a])
    }

    @inline(__always)
    private func isWorse(_ a: Int, _ b: Int, _ isBetter: (T, T) -> Bool) -> Bool {
        if isBetter(values[b], values[a]) { return true }
        return !isBetter(values[a], values[b]) && places[a] > places[b]
    }

    @inline(__always)
    private func sink(_ start: Int, _ count: Int, _ isBetter: (T, T) -> Bool) {
        var root = start
        while true {
            var child = 2 * root + 1
            if child >= count { return }
            if child + 1 < count, isWorse(child + 1, child, isBetter) { child += 1 }
            if !isWorse(child, root, isBetter) { return }
            swap(root, child)
            root = child
        }
    }
}
