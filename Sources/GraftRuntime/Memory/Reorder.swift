import CNumerics
import GraftCore

/// Copies the elements of `source` into `target`, which has the same shape and the other memory order.
func reorder(_ source: RuntimeTensor, into target: RuntimeTensor) throws {
    guard source.count > 0 else { return }
    let batch = source.shape[0]
    let channels = source.shape[1]
    let points = source.spatialCount
    let (rows, columns) = target.layout == .channelsLast ? (channels, points) : (points, channels)
    switch source.elementType.byteWidth {
    case 1: transpose(UInt8.self, source, target, batch, rows, columns)
    case 2: transpose(UInt16.self, source, target, batch, rows, columns)
    case 4: transpose(UInt32.self, source, target, batch, rows, columns)
    case 8: transpose(UInt64.self, source, target, batch, rows, columns)
    case 16: transpose(SIMD2<UInt64>.self, source, target, batch, rows, columns)
    default: throw KernelFailure("cannot reorder elements of type \(source.elementType.name)")
    }
}

private func transpose<T: BitwiseCopyable>(
    _ type: T.Type, _ source: RuntimeTensor, _ target: RuntimeTensor, _ batch: Int, _ rows: Int, _ columns: Int
) {
    transposeMatrices(source.typed(T.self), target.typed(T.self), count: batch, rows: rows, columns: columns)
}

/// Transposes `count` consecutive row-major matrices, in parallel.
func transposeMatrices<T: BitwiseCopyable>(
    _ source: UnsafePointer<T>, _ target: UnsafeMutablePointer<T>, count: Int, rows: Int, columns: Int
) {
    let size = rows * columns
    transposeMatrices(
        source, target, count: count, rows: rows, columns: columns, sourceStride: columns, targetStride: rows
    ) { ($0 * size, $0 * size) }
}

/// Transposes matrices whose rows lie `sourceStride` elements apart, and those of the result `targetStride`, in parallel.
///
/// - Parameter offsets: where a matrix and its result start.
func transposeMatrices<T: BitwiseCopyable>(
    _ source: UnsafePointer<T>, _ target: UnsafeMutablePointer<T>, count: Int, rows: Int, columns: Int,
    sourceStride: Int, targetStride: Int, _ offsets: (Int) -> (Int, Int)
) {
    // The rows of a tile fill a line of the cache in the result; tiles that lie side by side follow each other, so that
    // few lines are read at the same time, and each from one end to the other.
    let tileRows = columns < 8 ? 2048 : MemoryLayout<T>.size == 2 ? 32 : 16
    let tileColumns = rows < 8 ? 2048 : 64
    let tilesDown = (rows + tileRows - 1) / tileRows
    let tilesAcross = (columns + tileColumns - 1) / tileColumns
    let tiles = tilesDown * tilesAcross
    let isStreamed = Streaming.isWorthwhile(count * rows * columns * MemoryLayout<T>.size)
    let streams: Int32 = isStreamed ? 1 : 0
    Parallel.forEachRange(count * tiles, grain: max(1, 16384 / (tileRows * tileColumns))) { range in
        for index in range {
            let (matrix, position) = (index / tiles, index % tiles)
            let (top, left) = (position / tilesAcross * tileRows, position % tilesAcross * tileColumns)
            let (a, b) = offsets(matrix)
            let from = source + (a + top * sourceStride + left)
            let to = target + (b + left * targetStride + top)
            let (height, width) = (min(tileRows, rows - top), min(tileColumns, columns - left))
            if MemoryLayout<T>.size == 4 {
                cmovement_transpose_32(
                    UnsafeRawPointer(from).assumingMemoryBound(to: UInt32.self), sourceStride,
                    UnsafeMutableRawPointer(to).assumingMemoryBound(to: UInt32.self), targetStride, height, width,
                    streams)
            } else if MemoryLayout<T>.size == 2 {
                cmovement_transpose_16(
                    UnsafeRawPointer(from).assumingMemoryBound(to: UInt16.self), sourceStride,
                    UnsafeMutableRawPointer(to).assumingMemoryBound(to: UInt16.self), targetStride, height, width,
                    streams)
            } else {
                for column in 0..<width {
                    let line = to + column * targetStride
                    var read = from + column
                    for row in 0..<height {
                        line[row] = read.pointee
                        read += sourceStride
                    }
                }
            }
        }
        Streaming.finish(isStreamed)
    }
}
