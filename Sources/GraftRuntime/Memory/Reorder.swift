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
    // Tiles keep both the lines that are read and those that are written in the cache.
    let tile = MemoryLayout<T>.size == 2 ? 32 : 16
    let tilesDown = (rows + tile - 1) / tile
    let tilesAcross = (columns + tile - 1) / tile
    let tiles = tilesDown * tilesAcross
    Parallel.forEachRange(count * tiles, grain: 64) { range in
        for index in range {
            let matrix = index / tiles
            let position = index % tiles
            let across = position / tilesDown
            let down = position % tilesDown
            let from = source + matrix * size
            let to = target + matrix * size
            let rowEnd = min(rows, (down + 1) * tile)
            let columnEnd = min(columns, (across + 1) * tile)
            let (top, left) = (down * tile, across * tile)
            if MemoryLayout<T>.size == 4 {
                cmovement_transpose_32(
                    UnsafeRawPointer(from + top * columns + left).assumingMemoryBound(to: UInt32.self), columns,
                    UnsafeMutableRawPointer(to + left * rows + top).assumingMemoryBound(to: UInt32.self), rows,
                    rowEnd - top, columnEnd - left)
                continue
            }
            if MemoryLayout<T>.size == 2 {
                cmovement_transpose_16(
                    UnsafeRawPointer(from + top * columns + left).assumingMemoryBound(to: UInt16.self), columns,
                    UnsafeMutableRawPointer(to + left * rows + top).assumingMemoryBound(to: UInt16.self), rows,
                    rowEnd - top, columnEnd - left)
                continue
            }
            for column in (across * tile)..<columnEnd {
                let line = to + column * rows
                var read = from + (down * tile * columns + column)
                for row in (down * tile)..<rowEnd {
                    line[row] = read.pointee
                    read += columns
                }
            }
        }
    }
}
