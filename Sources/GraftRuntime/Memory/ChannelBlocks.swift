import CNumerics
import GraftCore

/// Copies a tensor of 32-bit numbers with 4 axes into one in blocks of channels; channels that fill up become zeros.
func fillBlocks(_ blocks: RuntimeTensor, from source: RuntimeTensor) {
    let (channels, points, count) = (source.shape[1], source.spatialCount, blocks.blockCount)
    let (from, to) = (source.floats, blocks.floats)
    let (channelStep, pointStep) = source.isChannelsLast && points > 1 ? (1, channels) : (points, 1)
    let lanes = Layout.block
    Parallel.forEachRange(source.shape[0] * count, grain: max(1, 4096 / max(1, points))) { range in
        for index in range {
            let first = index % count * lanes
            let width = min(lanes, channels - first)
            let start = from + (index / count * channels * points + first * channelStep)
            let target = to + index * points * lanes
            if channelStep == 1, width == lanes {
                for point in 0..<points {
                    (target + point * lanes).update(from: start + point * pointStep, count: lanes)
                }
                continue
            }
            for point in 0..<points {
                let out = target + point * lanes
                let row = start + point * pointStep
                for lane in 0..<width { out[lane] = row[lane * channelStep] }
                for lane in width..<lanes { out[lane] = 0 }
            }
        }
    }
}

/// Copies a tensor in blocks of channels into one of the same shape in another order.
func emptyBlocks(_ blocks: RuntimeTensor, into target: RuntimeTensor) {
    let (channels, points, count) = (target.shape[1], target.spatialCount, blocks.blockCount)
    let (from, to) = (blocks.floats, target.floats)
    let (channelStep, pointStep) = target.isChannelsLast && points > 1 ? (1, channels) : (points, 1)
    let lanes = Layout.block
    Parallel.forEachRange(target.shape[0] * count, grain: max(1, 4096 / max(1, points))) { range in
        for index in range {
            let first = index % count * lanes
            let width = min(lanes, channels - first)
            let start = to + (index / count * channels * points + first * channelStep)
            let source = from + index * points * lanes
            if channelStep == 1, width == lanes {
                for point in 0..<points {
                    (start + point * pointStep).update(from: source + point * lanes, count: lanes)
                }
            } else if channelStep == 1 {
                for point in 0..<points {
                    (start + point * pointStep).update(from: source + point * lanes, count: width)
                }
            } else {
                for lane in 0..<width {
                    let row = start + lane * channelStep
                    for point in 0..<points { row[point] = source[point * lanes + lane] }
                }
            }
        }
    }
}

/// Copies a tensor in blocks of channels into one whose numbers are rounded.
func roundBlocks(_ source: RuntimeTensor, into target: RuntimeTensor) {
    let (from, to) = (source.floats, target.rounded)
    Parallel.forEachRange(source.storedCount, grain: 32768) { range in
        _ = cconvert(
            CCONVERT_FLOAT, CCONVERT_BFLOAT16, from + range.lowerBound, to + range.lowerBound, range.count)
    }
}

/// Copies a tensor in blocks of rounded numbers into one in blocks of 32-bit numbers.
func widenBlocks(_ source: RuntimeTensor, into target: RuntimeTensor) {
    let (from, to) = (source.rounded, target.floats)
    Parallel.forEachRange(source.storedCount, grain: 32768) { range in
        _ = cconvert(
            CCONVERT_BFLOAT16, CCONVERT_FLOAT, from + range.lowerBound, to + range.lowerBound, range.count)
    }
}
