import CNumerics
import GraftCore

/// The right side of an integer product: columns of 16-bit numbers, zero points subtracted, in panels.
final class IntegerColumns {
    /// The number of rows, that is of products in a sum.
    let depth: Int
    /// The number of columns.
    let count: Int
    fileprivate let buffer: Buffer

    /// Rows come in pairs; the last may be filled up with zeros.
    var pairs: Int { (depth + 1) / 2 }
    fileprivate var panels: Int { (count + Self.width - 1) / Self.width }
    fileprivate static let width = Int(CINTEGERS_PANEL)

    /// Packs the columns of a matrix.
    ///
    /// - Parameters:
    ///   - element: the position in `source` of the entry in a row and column.
    ///   - zeroPoints: one for all columns, or one for each.
    init(
        _ source: RuntimeTensor, depth: Int, count: Int, zeroPoints: [Int32], _ arena: Arena,
        element: (_ row: Int, _ column: Int) -> Int
    ) throws {
        self.depth = depth
        self.count = count
        let pairs = (depth + 1) / 2
        let panels = (count + Self.width - 1) / Self.width
        guard let bytes = Checked.product([panels, pairs, Self.width, 4]) else {
            throw KernelFailure("a matrix of \(depth) rows and \(count) columns is not possible")
        }
        buffer = try arena.allocate(bytes)
        switch source.elementType {
        case .uint8: pack(source.typed(UInt8.self), zeroPoints, element)
        case .int8: pack(source.typed(Int8.self), zeroPoints, element)
        default: throw KernelFailure("elements of type \(source.elementType.name)")
        }
    }

    private func pack<T: FixedWidthInteger & BitwiseCopyable>(
        _ source: UnsafePointer<T>, _ zeroPoints: [Int32], _ element: (Int, Int) -> Int
    ) {
        let target = buffer.pointer.assumingMemoryBound(to: Int16.self)
        let (pairs, width) = (pairs, Self.width)
        Parallel.forEachRange(panels, grain: max(1, 4096 / max(1, pairs * width))) { range in
            for panel in range {
                for lane in 0..<width {
                    let column = panel * width + lane
                    let zero = column < count ? zeroPoints[zeroPoints.count == 1 ? 0 : column] : 0
                    let to = target + (panel * pairs * width + lane) * 2
                    for row in 0..<(2 * pairs) {
                        let value =
                            row < depth && column < count ? Int32(source[element(row, column)]) - zero : 0
                        to[row / 2 * width * 2 + row % 2] = Int16(truncatingIfNeeded: value)
                    }
                }
            }
        }
    }

    /// Multiplies rows with the columns, in parallel, a block of rows at a time.
    ///
    /// - Parameters:
    ///   - fill: writes rows as 16-bit numbers, each `2 * pairs` long, zeros behind the last number.
    ///   - finish: takes the sums of a block of rows and columns; the sums of a row are `stride` apart.
    func multiply(
        rows: Int, fill: (Range<Int>, UnsafeMutablePointer<Int16>) -> Void,
        finish: (_ rows: Range<Int>, _ columns: Range<Int>, UnsafePointer<Int32>, _ stride: Int) -> Void
    ) {
        guard rows > 0, count > 0 else { return }
        let block = 32
        let rowBlocks = (rows + block - 1) / block
        // Few rows are shared out by columns instead.
        let parts = rowBlocks >= 2 * Parallel.threads ? 1 : min(panels, Parallel.threads)
        let panelsEach = (panels + parts - 1) / parts
        let (length, width) = (2 * pairs, Self.width)
        let columns = buffer.pointer.assumingMemoryBound(to: Int16.self)
        let grain = max(1, 65536 / max(1, min(rows, block) * length * panelsEach))
        Parallel.forEachRange(rowBlocks * parts, grain: grain) { range in
            let stride = panelsEach * width
            let left = UnsafeMutablePointer<Int16>.allocate(capacity: block * max(1, length))
            let sums = UnsafeMutablePointer<Int32>.allocate(capacity: block * stride)
            defer {
                left.deallocate()
                sums.deallocate()
            }
            var filled = -1
            for index in range {
                let (rowBlock, part) = (index / parts, index % parts)
                let some = (rowBlock * block)..<min(rows, (rowBlock + 1) * block)
                let (first, last) = (part * panelsEach, min(panels, (part + 1) * panelsEach))
                guard first < last else { continue }
                if filled != rowBlock {
                    fill(some, left)
                    filled = rowBlock
                }
                cintegers_multiply(
                    left, length, some.count, columns + first * pairs * width * 2, pairs, last - first, sums, stride)
                finish(some, (first * width)..<min(count, last * width), sums, stride)
            }
        }
    }
}

extension KernelContext {
    /// The zero points of an input: integers of 8 bits; a single zero where it is left out.
    func zeroPoints(_ index: Int) throws -> [Int32] {
        guard has(index) else { return [0] }
        let tensor = try plain(index)
        guard tensor.count > 0 else { throw KernelFailure("input \(index) holds no zero point") }
        switch tensor.elementType {
        case .uint8: return (0..<tensor.count).map { Int32(tensor.typed(UInt8.self)[$0]) }
        case .int8: return (0..<tensor.count).map { Int32(tensor.typed(Int8.self)[$0]) }
        case .uint16: return (0..<tensor.count).map { Int32(tensor.typed(UInt16.self)[$0]) }
        case .int16: return (0..<tensor.count).map { Int32(tensor.typed(Int16.self)[$0]) }
        default: throw KernelFailure("zero points of type \(tensor.elementType.name)")
        }
    }

    /// The only zero point of an input.
    func zeroPoint(_ index: Int) throws -> Int32 {
        let all = try zeroPoints(index)
        guard all.count == 1 else { throw KernelFailure("input \(index) must hold one zero point, not \(all.count)") }
        return all[0]
    }

    /// The only scale of an input.
    func scale(_ index: Int) throws -> Float {
        let all = try numbers(index)
        guard all.count == 1 else { throw KernelFailure("input \(index) must hold one scale, not \(all.count)") }
        return all[0]
    }
}

/// A type of quantised bytes.
protocol QuantizedByte: FixedWidthInteger, BitwiseCopyable {}
extension UInt8: QuantizedByte {}
extension Int8: QuantizedByte {}

/// Rounds numbers to quantised integers.
struct Requantizer {
    /// What is added to the rounded number.
    let zeroPoint: Int32
    /// What numbers are held within before they are rounded.
    let low: Float
    let high: Float

    /// For integers from `lowest` to `highest`, which are less than 2^21 apart from the zero point.
    init(zeroPoint: Int32, lowest: Int32, highest: Int32) {
        self.zeroPoint = zeroPoint
        low = Float(lowest - zeroPoint)
        high = Float(highest - zeroPoint)
    }

    init<T: QuantizedByte>(zeroPoint: Int32, _ type: T.Type) {
        self.init(zeroPoint: zeroPoint, lowest: Int32(T.min), highest: Int32(T.max))
    }

    /// The integer nearest to a number, even where two are as near, plus the zero point, within the bounds; the lowest
    /// for NaN.
    @inline(__always) func callAsFunction(_ value: Float) -> Int32 {
        let raised = value > low ? value : low
        let clamped = raised < high ? raised : high
        // Adding 1.5 * 2^23 leaves no bits behind the point: the processor rounds, and the integer is in the low bits.
        let shifted = clamped + 12_582_912
        return Int32(bitPattern: shifted.bitPattern &- 0x4B40_0000) &+ zeroPoint
    }
}
