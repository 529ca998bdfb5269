import GraftCore
import GraftIR

/// MatMulNBits of com.microsoft: a product with weights of 2, 4 or 8 bits in blocks along the inner dimension.
///
/// Column n of B takes `ceil(K / block_size)` blocks, each `block_size * bits / 8` bytes, the first element in the
/// lowest bits. Zero points are packed alike, a column's padded to whole bytes, or have the type of A.
enum MatMulNBitsKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "MatMulNBits", domain: "com.microsoft", widens: true, prepare: { try Settings($0) },
                run: { try multiply($1, $0) })
        ]
    }

    private struct Settings: Sendable {
        let depth: Int
        let columns: Int
        let bits: Int
        let blockSize: Int
        let blocks: Int

        init(_ node: KernelNode) throws {
            depth = node.attributes.int("K") ?? 0
            columns = node.attributes.int("N") ?? 0
            bits = node.attributes.int("bits") ?? 4
            blockSize = node.attributes.int("block_size") ?? 0
            guard depth > 0, columns > 0, depth < 1 << 40, [2, 4, 8].contains(bits), blockSize >= 16,
                blockSize < 1 << 30, blockSize & (blockSize - 1) == 0
            else { throw KernelFailure("K \(depth), N \(columns), bits \(bits) or block_size \(blockSize)") }
            if node.attributes.int("weight_prepacked") ?? 0 != 0 { throw KernelFailure("prepacked weights") }
            blocks = (depth + blockSize - 1) / blockSize
        }

        var blockBytes: Int { blockSize * bits / 8 }
        var zeroPointBytes: Int { (blocks * bits + 7) / 8 }
    }

    private static func multiply(_ context: KernelContext, _ settings: Settings) throws {
        let a = try context.plain(0, .float32)
        let b = try context.plain(1, .uint8)
        let scales = try context.plain(2, .float32)
        let (k, n, blocks) = (settings.depth, settings.columns, settings.blocks)
        guard a.rank >= 1, a.shape[a.rank - 1] == k else {
            throw KernelFailure("an input of shape \(a.shape) for K = \(k)")
        }
        guard Checked.product([n, blocks, settings.blockBytes]) == b.count,
            Checked.product([n, blocks]) == scales.count
        else { throw KernelFailure("weights of shape \(b.shape) or scales of shape \(scales.shape)") }
        let points = try zeroPoints(context, settings)
        let order = try blockOrder(context, settings)
        let bias = context.has(5) ? try context.plain(5, .float32) : nil
        if let bias, bias.count != n { throw KernelFailure("a bias of shape \(bias.shape) for \(n) columns") }
        let y = try context.output(0, .float32, a.shape.dropLast() + [n])
        let (x, codes, scale, target) = (a.floats, b.typed(UInt8.self), scales.floats, y.floats)
        let rows = a.count / k
        let (bits, size) = (settings.bits, settings.blockSize)
        let mask = UInt8(truncatingIfNeeded: 1 << bits - 1)
        points.withUnsafeBufferPointer { points in
            order.withUnsafeBufferPointer { order in
                let (points, order) = (points, order)
                Parallel.forEachRange(n, grain: max(1, 16384 / k)) { range in
                    // A column is unpacked once and meets all rows.
                    let column = UnsafeMutablePointer<Float>.allocate(capacity: blocks * size)
                    defer { column.deallocate() }
                    for index in range {
                        let from = codes + index * blocks * settings.blockBytes
                        if order.isEmpty {
                            for block in 0..<blocks {
                                let (factor, zero) = (scale[index * blocks + block], points[index * blocks + block])
                                let (bytes, to) = (from + block * settings.blockBytes, column + block * size)
                                if bits == 4 {
                                    for byte in 0..<(size / 2) {
                                        to[2 * byte] = (Float(bytes[byte] & 15) - zero) * factor
                                        to[2 * byte + 1] = (Float(bytes[byte] >> 4) - zero) * factor
                                    }
                                } else {
                                    for place in 0..<size {
                                        let code = bytes[place * bits / 8] >> UInt8(place * bits % 8) & mask
                                        to[place] = (Float(code) - zero) * factor
                                    }
                                }
                            }
                        } else {
                            for place in 0..<k {
                                let code = from[place * bits / 8] >> UInt8(place * bits % 8) & mask
                                let at = index * blocks + order[place]
                                column[place] = (Float(code) - points[at]) * scale[at]
                            }
                        }
                        for row in 0..<rows {
                            target[row * n + index] = dot(x + row * k, column, k) + (bias?.floats[index] ?? 0)
                        }
                    }
                }
            }
        }
    }

    /// The zero points of all blocks.
    private static func zeroPoints(_ context: KernelContext, _ settings: Settings) throws -> [Float] {
        let (n, blocks, bits) = (settings.columns, settings.blocks, settings.bits)
        guard context.has(3) else {
            return Array(repeating: Float(1 << (bits - 1)), count: n * blocks)
        }
        let given = try context.plain(3)
        if given.elementType == .float32 {
            guard given.count == n * blocks else { throw KernelFailure("zero points of shape \(given.shape)") }
            return Array(UnsafeBufferPointer(start: given.floats, count: given.count))
        }
        guard given.elementType == .uint8, given.count == n * settings.zeroPointBytes else {
            throw KernelFailure("zero points of type \(given.elementType.name) and shape \(given.shape)")
        }
        let codes = given.typed(UInt8.self)
        let mask = UInt8(truncatingIfNeeded: 1 << bits - 1)
        return (0..<(n * blocks)).map { index in
            let (column, block) = (index / blocks, index % blocks)
            let byte = codes[column * settings.zeroPointBytes + block * bits / 8]
            return Float(byte >> UInt8(block * bits % 8) & mask)
        }
    }

    /// The block that each element of a column belongs to, where it is not its place that says it.
    private static func blockOrder(_ context: KernelContext, _ settings: Settings) throws -> [Int] {
        guard context.has(4) else { return [] }
        let order = try context.integers(4)
        guard order.count >= settings.depth, order.allSatisfy({ $0 >= 0 && $0 < settings.blocks }) else {
            throw KernelFailure("g_idx does not name a block for each element")
        }
        return order
    }

    @inline(__always)
    private static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
        var (first, second) = (SIMD8<Float>(), SIMD8<Float>())
        var index = 0
        while index + 16 <= count {
            let (x, y) = (UnsafeRawPointer(a + index), UnsafeRawPointer(b + index))
            first += x.loadUnaligned(as: SIMD8<Float>.self) * y.loadUnaligned(as: SIMD8<Float>.self)
            second +=
                (x + 32).loadUnaligned(as: SIMD8<Float>.self) * (y + 32).loadUnaligned(as: SIMD8<Float>.self)
            index += 16
        }
        var sum = (first + second).sum()
        while index < count {
            sum += a[index] * b[index]
            index += 1
        }
        return sum
    }
}
