import CNumerics
import GraftCore

/// How many numbers become one: a type for each, so that each has loops of its own that compilers turn into vectors.
protocol Folding {
    associatedtype Number: BitwiseCopyable
    /// What no numbers give.
    static var start: Number { get }
    /// A result so far and one number more.
    static func step(_ sum: Number, _ x: Number) -> Number
    /// Two results put together.
    static func merge(_ a: Number, _ b: Number) -> Number
    /// What is done at the end, with the number of numbers.
    static func finish(_ sum: Number, _ length: Int) -> Number
    /// A row that lies together.
    static func foldRow(_ from: UnsafePointer<Number>, _ length: Int) -> Number
    /// Folds each number of rows that lie `step` apart into the result of its column.
    static func foldRows(
        _ from: UnsafePointer<Number>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<Number>, _ width: Int)
}

extension Folding {
    @inline(__always)
    static func foldRow(_ from: UnsafePointer<Number>, _ length: Int) -> Number { foldLanes(from, length) }

    @inline(__always)
    static func foldRows(
        _ from: UnsafePointer<Number>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<Number>, _ width: Int
    ) {
        addRows(Self.self, from, step, rows, to, width)
    }
}

/// The results that a row is folded into side by side, so that one step need not wait for the one before.
private let lanes = 32

/// Folds (outer, length, inner) to (outer, inner), in parallel along whatever axis is long.
func fold<F: Folding>(
    _ folding: F.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int, _ inner: Int
) {
    let (source, target) = (UnsafePointer(x.typed(F.Number.self)), y.typed(F.Number.self))
    guard outer > 0, inner > 0 else { return }
    let block = min(inner, 2048)
    let blocks = (inner + block - 1) / block
    // Where there are fewer rows than threads, each thread takes a part of the length and they are put together.
    let isScarce = outer * blocks < 2 * Parallel.threads && length >= 64 && length * inner >= 1 << 16
    let parts = isScarce ? Parallel.threads : 1
    let sums = parts > 1 ? UnsafeMutablePointer<F.Number>.allocate(capacity: outer * parts * inner) : target
    defer { if parts > 1 { sums.deallocate() } }
    Parallel.forEachRange(outer * parts * blocks, grain: max(1, 8192 / max(1, length / parts * block))) { range in
        for index in range {
            let (place, first) = (index / blocks, index % blocks * block)
            let (row, part) = (place / parts, place % parts)
            let (begin, end) = (length * part / parts, length * (part + 1) / parts)
            let to = sums + place * inner + first
            let width = min(block, inner - first)
            if inner == 1 {
                to.pointee = F.foldRow(source + row * length + begin, end - begin)
            } else {
                to.update(repeating: F.start, count: width)
                F.foldRows(source + (row * length + begin) * inner + first, inner, end - begin, to, width)
            }
            if parts == 1 { for column in 0..<width { to[column] = F.finish(to[column], length) } }
        }
    }
    guard parts > 1 else { return }
    for row in 0..<outer {
        for column in 0..<inner {
            var total = sums[row * parts * inner + column]
            for part in 1..<parts { total = F.merge(total, sums[(row * parts + part) * inner + column]) }
            target[row * inner + column] = F.finish(total, length)
        }
    }
}

@inline(__always)
private func addRow<F: Folding>(
    _ folding: F.Type, _ from: UnsafePointer<F.Number>, _ to: UnsafeMutablePointer<F.Number>, _ width: Int
) {
    for column in 0..<width { to[column] = F.step(to[column], from[column]) }
}

/// Adds rows that lie `step` apart, four at a time, so that the results are read and written less often.
@inline(__always)
private func addRows<F: Folding>(
    _ folding: F.Type, _ from: UnsafePointer<F.Number>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<F.Number>,
    _ width: Int
) {
    var row = 0
    while row + 4 <= rows {
        let (a, b) = (from + row * step, from + (row + 1) * step)
        let (c, d) = (from + (row + 2) * step, from + (row + 3) * step)
        for column in 0..<width {
            to[column] = F.step(F.step(F.step(F.step(to[column], a[column]), b[column]), c[column]), d[column])
        }
        row += 4
    }
    while row < rows {
        addRow(F.self, from + row * step, to, width)
        row += 1
    }
}

extension Folding {
    @inline(__always)
    fileprivate static func foldLanes(_ from: UnsafePointer<Number>, _ length: Int) -> Number {
        var result = start
        var index = 0
        if length >= 2 * lanes {
            withUnsafeTemporaryAllocation(of: Number.self, capacity: lanes) { buffer in
                guard let sums = buffer.baseAddress else { return }
                sums.initialize(repeating: start, count: lanes)
                while index + lanes <= length {
                    addRow(Self.self, from + index, sums, lanes)
                    index += lanes
                }
                result = sums[0]
                for lane in 1..<lanes { result = merge(result, sums[lane]) }
            }
        }
        while index < length {
            result = step(result, from[index])
            index += 1
        }
        return result
    }
}

/// The greatest or least number of a row of 32-bit numbers, NaN where there is one; nil for other numbers.
@inline(__always)
private func extremeOfRow<T: RealNumber>(_ from: UnsafePointer<T>, _ length: Int, _ isMaximum: Int32) -> T? {
    guard T.self == Float.self else { return nil }
    return T(crows_extreme(UnsafeRawPointer(from).assumingMemoryBound(to: Float.self), length, isMaximum))
}

/// Adds rows of 32-bit numbers; false for other numbers.
@inline(__always)
private func sumRows<T: RealNumber>(
    _ from: UnsafePointer<T>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<T>, _ width: Int
) -> Bool {
    guard T.self == Float.self else { return false }
    celementwise_add_rows(
        UnsafeRawPointer(from).assumingMemoryBound(to: Float.self), step, rows,
        UnsafeMutableRawPointer(to).assumingMemoryBound(to: Float.self), width)
    return true
}

// MARK: Floating-point numbers

enum Sum<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
    @inline(__always)
    static func foldRows(
        _ from: UnsafePointer<T>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<T>, _ width: Int
    ) {
        if !sumRows(from, step, rows, to, width) { addRows(Self.self, from, step, rows, to, width) }
    }
}

enum Mean<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum / T(length) }
    @inline(__always)
    static func foldRows(
        _ from: UnsafePointer<T>, _ step: Int, _ rows: Int, _ to: UnsafeMutablePointer<T>, _ width: Int
    ) {
        if !sumRows(from, step, rows, to, width) { addRows(Self.self, from, step, rows, to, width) }
    }
}

enum Maximum<T: RealNumber>: Folding {
    static var start: T { -.infinity }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { x > sum || x.isNaN ? x : sum }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { b > a || b.isNaN ? b : a }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
    @inline(__always)
    static func foldRow(_ from: UnsafePointer<T>, _ length: Int) -> T {
        extremeOfRow(from, length, 1) ?? foldLanes(from, length)
    }
}

enum Minimum<T: RealNumber>: Folding {
    static var start: T { .infinity }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { x < sum || x.isNaN ? x : sum }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { b < a || b.isNaN ? b : a }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
    @inline(__always)
    static func foldRow(_ from: UnsafePointer<T>, _ length: Int) -> T {
        extremeOfRow(from, length, 0) ?? foldLanes(from, length)
    }
}

enum Product<T: RealNumber>: Folding {
    static var start: T { 1 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum * x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a * b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum L1<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + abs(x) }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum L2<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x * x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum.squareRoot() }
}

enum SumOfSquares<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x * x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum LogSum<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum.logarithm }
}

// MARK: Integers, which wrap

enum WholeSum<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &+ x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &+ b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeMean<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &+ x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &+ b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T {
        // In 64 bits, as a length need not fit the type.
        T.isSigned
            ? T(truncatingIfNeeded: Int64(truncatingIfNeeded: sum) / Int64(max(1, length)))
            : T(truncatingIfNeeded: UInt64(truncatingIfNeeded: sum) / UInt64(max(1, length)))
    }
}

enum WholeMaximum<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { .min }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { max(sum, x) }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { max(a, b) }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeMinimum<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { .max }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { min(sum, x) }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { min(a, b) }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeProduct<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 1 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &* x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &* b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeL1<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &+ (x < 0 ? 0 &- x : x) }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &+ b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeSumOfSquares<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &+ x &* x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &+ b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum WholeL2<T: FixedWidthInteger & BitwiseCopyable>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum &+ x &* x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a &+ b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T {
        // A sum that has wrapped may be negative, which has no root.
        T(clamping: Int64(max(0, Double(sum)).squareRoot()))
    }
}
