import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// HannWindow, HammingWindow, BlackmanWindow and MelWeightMatrix.
enum SignalWindowKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            window("HannWindow") { 0.5 - 0.5 * cos($0) },
            window("HammingWindow") { 25.0 / 46 - 21.0 / 46 * cos($0) },
            window("BlackmanWindow") { 0.42 - 0.5 * cos($0) + 0.08 * cos(2 * $0) },
            .function(
                "MelWeightMatrix", prepare: { try $0.elementTypeAttribute("output_datatype") ?? .float32 },
                run: melWeights),
        ]
    }

    /// A window by its value at an angle, where the window is once round the circle.
    ///
    /// Source of the coefficients: the pages of the operators in the ONNX reference.
    private static func window(_ type: String, _ value: @escaping @Sendable (Double) -> Double) -> KernelDefinition {
        .function(
            type,
            prepare: { node in
                (
                    try node.elementTypeAttribute("output_datatype") ?? .float32,
                    node.attributes.int("periodic") ?? 1 != 0
                )
            },
            run: { settings, context in
                let (type, isPeriodic) = settings
                let size = try context.integer(0)
                guard size >= 0 else { throw KernelFailure("a window of \(size) points") }
                let wide = try context.temporary(.float64, [size])
                let points = wide.typed(Double.self)
                let period = Double(max(1, isPeriodic ? size : size - 1))
                Parallel.forEachRange(size, grain: 4096) { range in
                    for index in range { points[index] = value(2 * Double.pi * Double(index) / period) }
                }
                context.set(0, try context.cast(wide, type))
            })
    }

    /// Triangles that are evenly spaced on the mel scale, as columns over the bins of a spectrum.
    private static func melWeights(_ type: ElementType, _ context: KernelContext) throws {
        let (bands, length, rate) = (try context.integer(0), try context.integer(1), try context.integer(2))
        func edge(_ input: Int) throws -> Double {
            let tensor = try context.cast(context.plain(input), .float64)
            guard tensor.count == 1 else { throw KernelFailure("input \(input) is not a single number") }
            return tensor.typed(Double.self).pointee
        }
        let (low, high) = (try edge(3), try edge(4))
        guard bands >= 0, bands < 1 << 31, length >= 0, length < 1 << 40, rate > 0, low >= 0, high >= low,
            high.isFinite
        else {
            throw KernelFailure("\(bands) bands between \(low) and \(high) Hz of \(length) points at \(rate) Hz")
        }
        let bins = length / 2 + 1
        let wide = try context.temporary(.float64, [bins, bands])
        let weights = wide.typed(Double.self)
        wide.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: wide.byteCount)
        let (lowMel, highMel) = (2595 * log10(1 + low / 700), 2595 * log10(1 + high / 700))
        let step = (highMel - lowMel) / Double(bands + 2)
        let points = (0..<(bands + 2)).map { index -> Int in
            let frequency = 700 * (pow(10, (lowMel + Double(index) * step) / 2595) - 1)
            return Int(min(Double(length + 1) * frequency / Double(rate), Double(bins + 1)).rounded(.down))
        }
        for band in 0..<bands {
            let (left, center, right) = (points[band], points[band + 1], points[band + 2])
            guard center < bins, right <= bins else {
                throw KernelFailure("the band \(band) ends at bin \(right) of \(bins)")
            }
            if left == center {
                weights[center * bands + band] = 1
            } else {
                for bin in left...center {
                    weights[bin * bands + band] = Double(bin - left) / Double(center - left)
                }
            }
            for bin in center..<max(center, right) {
                weights[bin * bands + band] = Double(right - bin) / Double(right - center)
            }
        }
        context.set(0, try context.cast(wide, type))
    }
}
