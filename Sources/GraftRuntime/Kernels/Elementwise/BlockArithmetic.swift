import CNumerics
import GraftCore

/// Sums and products of tensors in blocks of channels: of the same shape, or with one number for each channel.
///
/// Both keep the zeros that fill up the last block; other operations and shapes do not get here.
/// - Returns: false where the operands are to be brought into another order first.
func runOnBlocks(
    _ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int
) throws -> Bool {
    guard context.isBlocked(first) || context.isBlocked(second), operation == .add || operation == .multiply,
        context.elementType(first) == .float32, context.elementType(second) == .float32
    else { return false }
    let (shapeA, shapeB) = (try context.anyOrder(first).shape, try context.anyOrder(second).shape)
    guard shapeA.count == 4, shapeB.count == 4, !shapeA.contains(0) else { return false }
    if shapeA == shapeB {
        try combineBlocks(operation, context, first, second, shapeA)
        return true
    }
    // Both operations commute.
    let (full, row) = context.isBlocked(first) && isRow(shapeB, of: shapeA) ? (first, second) : (second, first)
    let (fullShape, rowShape) = full == first ? (shapeA, shapeB) : (shapeB, shapeA)
    guard context.isBlocked(full), isRow(rowShape, of: fullShape) else { return false }
    try combineRows(operation, context, full: full, row: row, fullShape, rowShape)
    return true
}

private func isRow(_ row: [Int], of shape: [Int]) -> Bool {
    row[1] == shape[1] && row[2] == 1 && row[3] == 1 && (row[0] == 1 || row[0] == shape[0])
}

private func combineBlocks(
    _ operation: ArithmeticOperation, _ context: KernelContext, _ first: Int, _ second: Int, _ shape: [Int]
) throws {
    let reusable = context.isBlocked(first) ? first : second
    let layouts = try (context.anyOrder(first).layout, context.anyOrder(second).layout)
    let layout: Layout = layouts == (.roundedBlocks, .roundedBlocks) ? .roundedBlocks : .blocked
    let y = try context.output(0, reusing: reusable, .float32, shape, layout: layout)
    let a = try context.reordered(context.anyOrder(first), layout)
    let b = try context.reordered(context.anyOrder(second), layout)
    let native = operation.native
    if layout == .roundedBlocks {
        let (x, w, z) = (a.rounded, b.rounded, y.rounded)
        Parallel.forEachRange(y.storedCount, grain: 32768) { range in
            celementwise_rounded_binary(
                native, x + range.lowerBound, w + range.lowerBound, z + range.lowerBound, range.count)
        }
        return
    }
    let (x, w, z) = (a.floats, b.floats, y.floats)
    Parallel.forEachRange(y.storedCount, grain: 32768) { range in
        celementwise_binary(
            native, x + range.lowerBound, 1, w + range.lowerBound, 1, z + range.lowerBound, range.count, 0)
    }
}

private func combineRows(
    _ operation: ArithmeticOperation, _ context: KernelContext, full: Int, row: Int, _ shape: [Int], _ rowShape: [Int]
) throws {
    // One number for each channel, filled up with zeros like the blocks.
    let factors = try context.reordered(context.anyOrder(row), .blocked)
    let layout = try context.anyOrder(full).layout
    let y = try context.output(0, reusing: full, .float32, shape, layout: layout)
    let x = try context.anyOrder(full)
    let (points, blocks) = (x.spatialCount, x.blockCount)
    let (source, numbers, target) = (x.floats, factors.floats, y.floats)
    let isShared = rowShape[0] == 1
    let lanes = Layout.block
    Parallel.forEachRange(shape[0] * blocks, grain: max(1, 2048 / max(1, points))) { range in
        for index in range {
            let place = index * points * lanes
            let row = numbers + (isShared ? index % blocks : index) * lanes
            if layout == .roundedBlocks {
                celementwise_rounded_rows(operation.native, x.rounded + place, row, y.rounded + place, points)
                continue
            }
            if operation == .add {
                celementwise_shift_rows(source + place, row, target + place, points)
            } else {
                celementwise_scale_rows(source + place, row, target + place, points)
            }
        }
    }
}
