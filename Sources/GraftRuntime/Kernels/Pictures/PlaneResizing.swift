import CNumerics
import GraftCore

/// Resampling of the last two axes of row-major tensors, plane by plane.
///
/// The rows of a plane are resampled along the last axis when they are first needed, and combined along the other.
struct PlaneResizing {
    /// The tables of the axes; nil where an axis stays as it is.
    let rows: ResampleTable?
    let columns: ResampleTable?
    let height: Int
    let width: Int
    let outputHeight: Int
    let outputWidth: Int

    init?(_ shape: [Int], rows: ResampleTable?, columns: ResampleTable?) {
        // Each tap of a row needs a line of scratch memory.
        guard shape.count >= 2, rows?.fill == nil, columns?.fill == nil, rows?.taps ?? 1 <= 64,
            shape[shape.count - 1] < Int32.max
        else { return nil }
        (self.rows, self.columns) = (rows, columns)
        (height, width) = (shape[shape.count - 2], shape[shape.count - 1])
        (outputHeight, outputWidth) = (rows?.output ?? height, columns?.output ?? width)
    }

    /// Whether elements only move.
    var onlyMoves: Bool { (rows?.taps ?? 1) == 1 && (columns?.taps ?? 1) == 1 }

    // MARK: The nearest element

    func pick(_ x: RuntimeTensor, _ y: RuntimeTensor) throws {
        try PlanePick(planes: self, x: x, y: y).run(width: x.elementType)
    }

    // MARK: Weighted sums

    func resample(_ x: RuntimeTensor, _ y: RuntimeTensor) {
        let (source, target) = (x.floats, y.floats)
        let taps = rows?.taps ?? 1
        let rowIndices = rows?.indices ?? Array(0..<height)
        let rowWeights = rows?.weights ?? Array(repeating: 1, count: height)
        let (indices, weights, columnTaps) = byTap()
        let streams = Streaming.isWorthwhile(y.byteCount)
        let count = y.count / outputWidth
        // The last slot holds a row of the result on its way to the memory.
        let slots = taps + 1
        Parallel.forEachRange(count, grain: max(1, 8192 / outputWidth)) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: slots * outputWidth) { lines in
                withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: taps) { chosen in
                    withUnsafeTemporaryAllocation(of: Int.self, capacity: taps) { held in
                        guard let lines = lines.baseAddress, let chosen = chosen.baseAddress else { return }
                        var plane = -1
                        for index in range {
                            let (own, row) = (index / outputHeight, index % outputHeight)
                            if own != plane {
                                plane = own
                                for slot in 0..<taps { held[slot] = -1 }
                            }
                            for tap in 0..<taps {
                                let wanted = rowIndices[row * taps + tap]
                                let from = source + (plane * height + wanted) * width
                                guard columnTaps > 0 else {
                                    chosen[tap] = UnsafePointer(from)
                                    continue
                                }
                                let line = lines + wanted % taps * outputWidth
                                if held[wanted % taps] != wanted {
                                    cplanes_resample(from, indices, weights, columnTaps, line, outputWidth)
                                    held[wanted % taps] = wanted
                                }
                                chosen[tap] = UnsafePointer(line)
                            }
                            let to = target + index * outputWidth
                            let result = streams ? lines + taps * outputWidth : to
                            rowWeights.withUnsafeBufferPointer { all in
                                guard let first = all.baseAddress else { return }
                                cplanes_blend(chosen, first + row * taps, taps, result, outputWidth)
                            }
                            if streams { cmovement_stream(result, to, outputWidth * MemoryLayout<Float>.size) }
                        }
                        Streaming.finish(streams)
                    }
                }
            }
        }
    }

    /// The indices and the weights of the columns, those of the first taps of all columns first; no taps where the
    /// columns stay.
    private func byTap() -> (indices: [Int32], weights: [Float], taps: Int) {
        guard let columns else { return ([], [], 0) }
        var indices: [Int32] = []
        var weights: [Float] = []
        for tap in 0..<columns.taps {
            for position in 0..<columns.output {
                indices.append(Int32(truncatingIfNeeded: columns.indices[position * columns.taps + tap]))
                weights.append(columns.weights[position * columns.taps + tap])
            }
        }
        return (indices, weights, columns.taps)
    }
}

private struct PlanePick: WidthTask {
    let planes: PlaneResizing
    let x: RuntimeTensor
    let y: RuntimeTensor

    func run<T: BitwiseCopyable>(_ type: T.Type) {
        let (source, target) = (x.typed(T.self), y.typed(T.self))
        let (height, width, down, across) = (planes.height, planes.width, planes.outputHeight, planes.outputWidth)
        let rowIndices = planes.rows?.indices ?? Array(0..<height)
        let columnIndices = planes.columns?.indices ?? Array(0..<width)
        let isDoubling = across == 2 * width && columnIndices.indices.allSatisfy { columnIndices[$0] == $0 / 2 }
        let isSame = across == width && columnIndices.indices.allSatisfy { columnIndices[$0] == $0 }
        let streams = Streaming.isWorthwhile(y.byteCount)
        let bytes = across * MemoryLayout<T>.stride
        Parallel.forEachRange(y.count / across, grain: max(1, 8192 / across)) { range in
            withUnsafeTemporaryAllocation(of: T.self, capacity: across) { buffer in
                guard let line = buffer.baseAddress else { return }
                columnIndices.withUnsafeBufferPointer { places in
                    var held = -1
                    for index in range {
                        let wanted = index / down * height + rowIndices[index % down]
                        if wanted != held {
                            held = wanted
                            let from = source + wanted * width
                            if isSame {
                                line.update(from: from, count: across)
                            } else if isDoubling {
                                for column in 0..<width {
                                    let value = from[column]
                                    line[2 * column] = value
                                    line[2 * column + 1] = value
                                }
                            } else {
                                for column in 0..<across { line[column] = from[places[column]] }
                            }
                        }
                        Streaming.copy(line, to: target + index * across, bytes: bytes, streams: streams)
                    }
                    Streaming.finish(streams)
                }
            }
        }
    }
}
