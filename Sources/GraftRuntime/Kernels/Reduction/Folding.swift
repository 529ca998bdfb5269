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
}

/// The results that a row is folded into side by side, so that one step need not wait for the one before.
private let lanes = 32

/// Folds (outer, length, inner) to (outer, inner), in parallel along whatever axis is long.
func fold<F: Folding>(
    _ folding: F.Type, _ x: RuntimeTensor, _ y: RuntimeTensor, _ outer: Int, _ length: Int, _ inner: Int
) {
    let (source, target) = (UnsafePointer(x.typed(F.Number.self)), y.typed(F.Number.self))
    guard outer > 0, inner > 0 else { return }
    let block = min(inner, 4096)
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
                to.pointee = foldRow(F.self, source + row * length + begin, end - begin)
            } else {
                to.update(repeating: F.start, count: width)
                for position in begin..<end {
                    addRow(F.self, source + (row * length + position) * inner + first, to, width)
                }
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

@inline(__always)
private func foldRow<F: Folding>(_ folding: F.Type, _ from: UnsafePointer<F.Number>, _ length: Int) -> F.Number {
    var result = F.start
    var index = 0
    if length >= 2 * lanes {
        result = withUnsafeTemporaryAllocation(of: F.Number.self, capacity: lanes) { buffer in
            let sums = buffer.baseAddress!
            sums.initialize(repeating: F.start, count: lanes)
            while index + lanes <= length {
                addRow(F.self, from + index, sums, lanes)
                index += lanes
            }
            var total = sums[0]
            for lane in 1..<lanes { total = F.merge(total, sums[lane]) }
            return total
        }
    }
    while index < length {
        result = F.step(result, from[index])
        index += 1
    }
    return result
}

// MARK: Floating-point numbers

enum Sum<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum Mean<T: RealNumber>: Folding {
    static var start: T { 0 }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { sum + x }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { a + b }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum / T(length) }
}

enum Maximum<T: RealNumber>: Folding {
    static var start: T { -.infinity }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { x > sum || x.isNaN ? x : sum }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { b > a || b.isNaN ? b : a }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
}

enum Minimum<T: RealNumber>: Folding {
    static var start: T { .infinity }
    @inline(__always) static func step(_ sum: T, _ x: T) -> T { x < sum || x.isNaN ? x : sum }
    @inline(__always) static func merge(_ a: T, _ b: T) -> T { b < a || b.isNaN ? b : a }
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { sum }
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
        let divisor = T(truncatingIfNeeded: max(1, length))
        return divisor == 0 ? 0 : sum / divisor
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
    @inline(__always) static func finish(_ sum: T, _ length: Int) -> T { T(clamping: Int64(Double(sum).squareRoot())) }
}
