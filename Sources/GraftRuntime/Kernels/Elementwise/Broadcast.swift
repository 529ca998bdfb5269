import GraftCore

/// How several tensors are walked together under NumPy's broadcasting rules.
///
/// The axes are put in the memory order of the result and merged where neighbours lie together for everyone, so that
/// most walks have one or two axes.
struct Broadcast {
    /// The shape of the result.
    let shape: [Int]
    /// The memory order of the result.
    let layout: Layout
    /// The lengths of the merged axes, the innermost last; never empty.
    private(set) var lengths: [Int] = []
    /// The distances between neighbours for each operand, along the merged axes.
    private(set) var strides: [[Int]] = []
    /// The number of elements of the result.
    let count: Int

    /// The shape that tensors broadcast to.
    static func shape(_ shapes: [[Int]]) throws -> [Int] {
        let rank = shapes.map(\.count).max() ?? 0
        return try (0..<rank).map { axis in
            var result = 1
            for shape in shapes {
                let position = axis - (rank - shape.count)
                guard position >= 0, shape[position] != 1 else { continue }
                guard result == 1 || result == shape[position] else {
                    throw KernelFailure(
                        "the shapes \(shapes.map(\.description).joined(separator: ", ")) do not broadcast")
                }
                result = shape[position]
            }
            return result
        }
    }

    /// A walk over operands whose full-size members have the memory order of the result.
    init(_ operands: [RuntimeTensor], shape: [Int], layout: Layout) {
        self.shape = shape
        self.layout = layout
        count = shape.reduce(1, *)
        let rank = shape.count
        var order = Array(0..<rank)
        if layout == .channelsLast, rank >= 3 { order = [0] + Array(2..<rank) + [1] }
        let all = operands.map { operand -> [Int] in
            let own = operand.strides
            return order.map { axis in
                let position = axis - (rank - operand.rank)
                return position < 0 || operand.shape[position] == 1 ? 0 : own[position]
            }
        }
        strides = Array(repeating: [], count: operands.count)
        for (position, axis) in order.enumerated() where shape[axis] != 1 {
            let length = shape[axis]
            if let last = lengths.last,
                all.indices.allSatisfy({ (strides[$0].last ?? 0) == all[$0][position] * length })
            {
                lengths[lengths.count - 1] = last * length
                for index in all.indices { strides[index][strides[index].count - 1] = all[index][position] }
            } else {
                lengths.append(length)
                for index in all.indices { strides[index].append(all[index][position]) }
            }
        }
        if lengths.isEmpty {
            lengths = [1]
            for index in strides.indices { strides[index] = [0] }
        }
    }

    /// The distance between neighbours of an operand along the innermost axis.
    func innerStride(_ operand: Int) -> Int { strides[operand][lengths.count - 1] }

    /// Calls `body` for runs along the innermost axis, in parallel: the position in the result, where each of two
    /// operands starts, and the number of elements.
    ///
    /// - Parameter streams: whether `body` writes past the caches.
    @inline(__always)
    func forEachRun(
        grain: Int = 16384, streams: Bool = false, _ body: (_ target: Int, _ a: Int, _ b: Int, _ count: Int) -> Void
    ) {
        let inner = lengths[lengths.count - 1]
        let last = strides.count > 1 ? 1 : 0
        Parallel.forEachRange(count, grain: grain) { range in
            var position = range.lowerBound
            while position < range.upperBound {
                var row = position / inner
                let column = position % inner
                let length = min(inner - column, range.upperBound - position)
                var a = column * strides[0][lengths.count - 1]
                var b = column * strides[last][lengths.count - 1]
                var axis = lengths.count - 2
                while axis >= 0 {
                    let index = row % lengths[axis]
                    row /= lengths[axis]
                    a += index * strides[0][axis]
                    b += index * strides[last][axis]
                    axis -= 1
                }
                body(position, a, b, length)
                position += length
            }
            Streaming.finish(streams)
        }
    }

    /// Calls `body` for runs along the innermost axis, in parallel: the position in the result, where each of some
    /// operands starts, and the number of elements.
    @inline(__always)
    func forEachRun(
        of operands: Int, grain: Int = 16384,
        _ body: (_ target: Int, _ offsets: UnsafeMutableBufferPointer<Int>, _ count: Int) -> Void
    ) {
        let innermost = lengths.count - 1
        let inner = lengths[innermost]
        Parallel.forEachRange(count, grain: grain) { range in
            withUnsafeTemporaryAllocation(of: Int.self, capacity: operands) { offsets in
                var position = range.lowerBound
                while position < range.upperBound {
                    var row = position / inner
                    let column = position % inner
                    let length = min(inner - column, range.upperBound - position)
                    for operand in 0..<operands { offsets[operand] = column * strides[operand][innermost] }
                    var axis = innermost - 1
                    while axis >= 0 {
                        let index = row % lengths[axis]
                        row /= lengths[axis]
                        for operand in 0..<operands { offsets[operand] += index * strides[operand][axis] }
                        axis -= 1
                    }
                    body(position, offsets, length)
                    position += length
                }
            }
        }
    }

    /// Where each operand starts for a position in the result.
    func offsets(of position: Int) -> [Int] {
        var rest = position
        var result = Array(repeating: 0, count: strides.count)
        for axis in lengths.indices.reversed() {
            let index = rest % lengths[axis]
            rest /= lengths[axis]
            for operand in strides.indices { result[operand] += index * strides[operand][axis] }
        }
        return result
    }
}

extension KernelContext {
    /// Brings inputs that fill the broadcast result into one memory order, and describes the walk over all of them.
    func broadcast(_ indices: [Int]) throws -> (tensors: [RuntimeTensor], walk: Broadcast) {
        var tensors = try indices.map { try input($0) }
        let shape = try Broadcast.shape(tensors.map(\.shape))
        let count = shape.reduce(1, *)
        func isFull(_ tensor: RuntimeTensor) -> Bool { tensor.count == count && tensor.rank == shape.count }
        let layout: Layout =
            shape.count >= 3 && tensors.contains { isFull($0) && !$0.isRowMajor } ? .channelsLast : .rowMajor
        for index in tensors.indices {
            if isFull(tensors[index]) {
                tensors[index] = try reordered(tensors[index], layout)
            } else if tensors[index].rank != shape.count {
                tensors[index] = try reordered(tensors[index], .rowMajor)
            }
        }
        return (tensors, Broadcast(tensors, shape: shape, layout: layout))
    }
}

/// Applies a function of two operands element by element.
@inline(__always)
func combine<A, R>(
    _ walk: Broadcast, _ a: UnsafePointer<A>, _ b: UnsafePointer<A>, _ target: UnsafeMutablePointer<R>,
    _ function: (A, A) -> R
) {
    let (strideA, strideB) = (walk.innerStride(0), walk.innerStride(1))
    walk.forEachRun { position, offsetA, offsetB, count in
        let (x, y, z) = (a + offsetA, b + offsetB, target + position)
        switch (strideA, strideB) {
        case (1, 1): for index in 0..<count { z[index] = function(x[index], y[index]) }
        case (1, 0):
            let value = y.pointee
            for index in 0..<count { z[index] = function(x[index], value) }
        case (0, 1):
            let value = x.pointee
            for index in 0..<count { z[index] = function(value, y[index]) }
        default:
            for index in 0..<count { z[index] = function(x[index * strideA], y[index * strideB]) }
        }
    }
}

/// A function of two operands that is a type, so that each has loops of its own: a function value would be called for
/// every element.
protocol PairFunction {
    associatedtype Operand: BitwiseCopyable
    associatedtype Result: BitwiseCopyable
    static func apply(_ a: Operand, _ b: Operand) -> Result
}

/// Applies a function of two operands element by element.
func combine<F: PairFunction>(
    _ walk: Broadcast, _ a: UnsafePointer<F.Operand>, _ b: UnsafePointer<F.Operand>,
    _ target: UnsafeMutablePointer<F.Result>, _ function: F.Type
) {
    let (strideA, strideB) = (walk.innerStride(0), walk.innerStride(1))
    walk.forEachRun { position, offsetA, offsetB, count in
        let (x, y, z) = (a + offsetA, b + offsetB, target + position)
        switch (strideA, strideB) {
        case (1, 1): for index in 0..<count { z[index] = F.apply(x[index], y[index]) }
        case (1, 0):
            let value = y.pointee
            for index in 0..<count { z[index] = F.apply(x[index], value) }
        case (0, 1):
            let value = x.pointee
            for index in 0..<count { z[index] = F.apply(value, y[index]) }
        default:
            for index in 0..<count { z[index] = F.apply(x[index * strideA], y[index * strideB]) }
        }
    }
}
