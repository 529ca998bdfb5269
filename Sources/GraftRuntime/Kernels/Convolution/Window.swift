import COneDNN
import GraftCore
import GraftIR

/// The sliding-window attributes that convolutions and poolings share.
struct WindowAttributes: Sendable {
    enum AutoPad: Sendable { case explicit, valid, sameUpper, sameLower }

    var kernel: [Int]?
    var strides: [Int]?
    var dilations: [Int]?
    var pads: [Int]?
    var autoPad: AutoPad
    var ceilMode: Bool

    init(_ attributes: Attributes) throws {
        kernel = attributes.ints("kernel_shape")
        strides = attributes.ints("strides")
        dilations = attributes.ints("dilations")
        pads = attributes.ints("pads")
        ceilMode = attributes.int("ceil_mode") ?? 0 != 0
        switch attributes.string("auto_pad") ?? "NOTSET" {
        case "NOTSET", "": autoPad = .explicit
        case "VALID": autoPad = .valid
        case "SAME_UPPER": autoPad = .sameUpper
        case "SAME_LOWER": autoPad = .sameLower
        case let other: throw KernelFailure("auto_pad \"\(other)\" is not known")
        }
        for value in (kernel ?? []) + (strides ?? []) + (dilations ?? []) where value < 1 || value > 1 << 24 {
            throw KernelFailure("kernel_shape, strides and dilations must be positive, found \(value)")
        }
        for value in pads ?? [] where value.magnitude > 1 << 24 {
            throw KernelFailure("the padding \(value) is too large")
        }
    }

    /// The window for an input; `kernel` where the attribute does not say it.
    func geometry(_ spatial: [Int], kernel given: [Int]? = nil) throws -> WindowGeometry {
        let rank = spatial.count
        guard let kernel = given ?? kernel else { throw KernelFailure("kernel_shape is missing") }
        let strides = strides ?? Array(repeating: 1, count: rank)
        let dilations = dilations ?? Array(repeating: 1, count: rank)
        let pads = pads ?? Array(repeating: 0, count: 2 * rank)
        guard kernel.count == rank, strides.count == rank, dilations.count == rank, pads.count == 2 * rank else {
            throw KernelFailure(
                "kernel_shape, strides, dilations or pads do not fit an input with \(rank) spatial axes")
        }
        var result = WindowGeometry(
            input: spatial, kernel: kernel, strides: strides, dilations: dilations,
            begin: Array(pads[..<rank]), end: Array(pads[rank...]), output: [])
        for axis in 0..<rank {
            let extent = dilations[axis] * (kernel[axis] - 1) + 1
            let size = spatial[axis]
            var count: Int
            switch autoPad {
            case .sameUpper, .sameLower:
                count = (size + strides[axis] - 1) / strides[axis]
                let total = max(0, (count - 1) * strides[axis] + extent - size)
                let small = total / 2
                result.begin[axis] = autoPad == .sameUpper ? small : total - small
                result.end[axis] = total - result.begin[axis]
            case .valid, .explicit:
                if autoPad == .valid {
                    result.begin[axis] = 0
                    result.end[axis] = 0
                }
                let span = size + result.begin[axis] + result.end[axis] - extent
                if span < 0 { throw KernelFailure("the window of extent \(extent) does not fit the input \(spatial)") }
                count = span / strides[axis] + 1
                if ceilMode, autoPad == .explicit || autoPad == .valid, span % strides[axis] != 0 {
                    // A window that would start in the padding after the input is left out.
                    if count * strides[axis] < size + result.begin[axis] { count += 1 }
                }
            }
            result.output.append(count)
        }
        return result
    }
}

/// A sliding window over an input of known size; one entry for each spatial axis.
struct WindowGeometry: Equatable {
    var input: [Int]
    var kernel: [Int]
    var strides: [Int]
    var dilations: [Int]
    var begin: [Int]
    var end: [Int]
    var output: [Int]

    /// The padding at the end that makes the last window fit exactly or the rest be dropped.
    var fittedEnd: [Int] {
        input.indices.map { axis in
            (output[axis] - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1 - input[axis] - begin[axis]
        }
    }

    /// Whether the kernel is longer than the input along some axis, so that a window lies over both edges.
    ///
    /// oneDNN's convolutions then add the operand of a binary post-operation wrongly (seen in 2.6).
    var outreachesInput: Bool {
        input.indices.contains { dilations[$0] * (kernel[$0] - 1) + 1 > min(input[$0], output[$0]) }
    }

    /// The window in the form of the oneDNN interface.
    var native: gdnn_window {
        var window = gdnn_window()
        func fill<T>(_ tuple: inout T, _ values: [Int]) {
            withUnsafeMutableBytes(of: &tuple) { bytes in
                let target = bytes.assumingMemoryBound(to: Int64.self)
                for index in values.indices { target[index] = Int64(values[index]) }
            }
        }
        fill(&window.strides, strides)
        fill(&window.dilations, dilations)
        fill(&window.pad_begin, begin)
        fill(&window.pad_end, fittedEnd)
        fill(&window.kernel, kernel)
        return window
    }
}
