import CNumerics
import GraftCore

/// What Winograd's algorithm multiplies, and how it gets there and back.
///
/// Transformed numbers lie frequency by frequency, `step` apart.
protocol WinogradArithmetic {
    associatedtype Number: BitwiseCopyable

    /// The channels of what is computed at once, in blocks.
    var geometry: cwinograd_geometry { get }

    /// Transforms the weights of some output blocks for some input channels, the first a multiple of ``channelsAtOnce``.
    func transformWeights(_ blocks: Range<Int>, _ channels: Range<Int>, into target: WinogradNumbers<Number>)
    /// Transforms tiles of some chunks of ``channelsAtOnce`` input channels.
    func transformInput(_ tiles: Range<Int>, chunks: Range<Int>, into target: WinogradNumbers<Number>)
    /// Sets or adds to products the sums over some input blocks; meanwhile asks the memory for the weights `ahead`.
    func multiply(
        _ input: WinogradNumbers<Number>, _ weights: WinogradNumbers<Number>, blocks: Int, tiles: Int, panel: Int,
        adds: Bool, _ products: WinogradNumbers<Float>, ahead: WinogradFilters?)
    /// Makes output tiles.
    func transformOutput(_ products: WinogradNumbers<Float>, _ tiles: Range<Int>, _ blocks: Range<Int>)
}

/// Weights of some output blocks and some input channels.
struct WinogradFilters {
    let blocks: Range<Int>
    let channels: Range<Int>
}

/// Numbers between the transforms, and the scales that some of them share, where they have them.
struct WinogradNumbers<Number> {
    let numbers: UnsafeMutablePointer<Number>
    /// The numbers from one frequency to the next.
    let step: Int
    let scales: UnsafeMutablePointer<Float>

    /// What starts some numbers further, and some scales.
    func dropping(_ count: Int, scales scaleCount: Int) -> WinogradNumbers {
        WinogradNumbers(numbers: numbers + count, step: step, scales: scales + scaleCount)
    }
}

extension WinogradArithmetic {
    /// The input channels that are transformed as one.
    static var channelsAtOnce: Int { Int(CWINOGRAD_CHUNK) }

    /// The channels of the input.
    var channels: Int { geometry.input_blocks * Layout.block }

    /// Where weights lie, of numbers of some bytes each.
    fileprivate func place(of filters: WinogradFilters?, at weights: UnsafeRawPointer, width: Int) -> cwinograd_ahead {
        guard let filters else { return cwinograd_ahead() }
        let bytes = Int(CWINOGRAD_FILTER) * Layout.block * width
        let step = channels * bytes
        return cwinograd_ahead(
            weights: weights + (filters.blocks.lowerBound * step + filters.channels.lowerBound * bytes),
            count: filters.blocks.count, step: step, lines: filters.channels.count * bytes / 64)
    }
}

/// 32-bit numbers, of which no scale is kept.
struct FloatWinograd: WinogradArithmetic {
    let geometry: cwinograd_geometry
    let operands: WinogradConvolution.Operands
    let bounds: ClosedRange<Float>

    func transformWeights(_ blocks: Range<Int>, _ channels: Range<Int>, into target: WinogradNumbers<Float>) {
        cwinograd_transform_weights(
            operands.weights.assumingMemoryBound(to: Float.self), self.channels, blocks.lowerBound, blocks.count,
            channels.lowerBound, channels.upperBound, target.numbers, target.step)
    }

    func transformInput(_ tiles: Range<Int>, chunks: Range<Int>, into target: WinogradNumbers<Float>) {
        let blocks = Self.channelsAtOnce / Layout.block
        withUnsafePointer(to: geometry) {
            cwinograd_transform_input(
                operands.source.floats, $0, tiles.lowerBound, tiles.count, chunks.lowerBound * blocks,
                min(chunks.upperBound * blocks, geometry.input_blocks), target.numbers, target.step)
        }
    }

    func multiply(
        _ input: WinogradNumbers<Float>, _ weights: WinogradNumbers<Float>, blocks: Int, tiles: Int, panel: Int,
        adds: Bool, _ products: WinogradNumbers<Float>, ahead: WinogradFilters?
    ) {
        cwinograd_multiply(
            input.numbers, input.step, weights.numbers, weights.step, blocks, tiles, panel, adds ? 1 : 0,
            products.numbers, products.step, place(of: ahead, at: operands.weights, width: MemoryLayout<Float>.stride))
    }

    func transformOutput(_ products: WinogradNumbers<Float>, _ tiles: Range<Int>, _ blocks: Range<Int>) {
        withUnsafePointer(to: geometry) {
            cwinograd_transform_output(
                products.numbers, products.step, $0, tiles.lowerBound, tiles.count, blocks.lowerBound, blocks.count,
                operands.bias, operands.addend?.floats, bounds.lowerBound, bounds.upperBound, operands.target.floats)
        }
    }
}

/// Integers of 14 bits with scales, between tensors of rounded numbers.
///
/// Rounding the transformed numbers to bfloat16 would make the error four times that of the direct algorithm in bfloat16;
/// with these integers it stays what rounding the operands makes it.
struct IntegerWinograd: WinogradArithmetic {
    let geometry: cwinograd_geometry
    let operands: WinogradConvolution.Operands
    let bounds: ClosedRange<Float>

    func transformWeights(_ blocks: Range<Int>, _ channels: Range<Int>, into target: WinogradNumbers<Int16>) {
        cwinograd_integer_weights(
            operands.weights.assumingMemoryBound(to: UInt16.self), self.channels, blocks.lowerBound, blocks.count,
            channels.lowerBound, channels.upperBound, target.numbers, target.step, target.scales)
    }

    func transformInput(_ tiles: Range<Int>, chunks: Range<Int>, into target: WinogradNumbers<Int16>) {
        withUnsafePointer(to: geometry) {
            cwinograd_integer_input(
                operands.source.rounded, $0, tiles.lowerBound, tiles.count, chunks.lowerBound, chunks.upperBound,
                target.numbers, target.step, target.scales)
        }
    }

    func multiply(
        _ input: WinogradNumbers<Int16>, _ weights: WinogradNumbers<Int16>, blocks: Int, tiles: Int, panel: Int,
        adds: Bool, _ products: WinogradNumbers<Float>, ahead: WinogradFilters?
    ) {
        cwinograd_integer_multiply(
            input.numbers, input.step, input.scales, weights.numbers, weights.step, weights.scales, blocks, tiles,
            panel, adds ? 1 : 0, products.numbers, products.step,
            place(of: ahead, at: operands.weights, width: MemoryLayout<UInt16>.stride))
    }

    func transformOutput(_ products: WinogradNumbers<Float>, _ tiles: Range<Int>, _ blocks: Range<Int>) {
        withUnsafePointer(to: geometry) {
            cwinograd_integer_output(
                products.numbers, products.step, $0, tiles.lowerBound, tiles.count, blocks.lowerBound, blocks.count,
                operands.bias, operands.addend.map { UnsafeRawPointer($0.pointer) }, bounds.lowerBound,
                bounds.upperBound, operands.target.layout == .roundedBlocks ? 1 : 0, operands.target.pointer)
        }
    }
}
