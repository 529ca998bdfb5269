import GraftCore

/// How padding is chosen where the file does not give it.
public enum AutoPad: String, Sendable, CaseIterable {
    /// By `pads`.
    case explicit = "NOTSET"
    /// So that the output has `ceil(input / stride)` extents; the odd element goes to the end.
    case sameUpper = "SAME_UPPER"
    /// As ``sameUpper``, but the odd element goes to the beginning.
    case sameLower = "SAME_LOWER"
    /// None.
    case valid = "VALID"
}

/// The window of a convolution or pooling, resolved for one size of input: every extent is a number.
public struct SpatialWindow: Sendable, Hashable {
    /// The extents of the window.
    public var kernel: [Int]
    /// The steps of the window.
    public var strides: [Int]
    /// The distances of the window's elements.
    public var dilations: [Int]
    /// The padding before each spatial axis; for a transposed convolution what is cut off.
    public var padsBegin: [Int]
    /// The padding after each spatial axis.
    public var padsEnd: [Int]
    /// The spatial extents of the output.
    public var output: [Int]

    /// The number of spatial axes.
    public var rank: Int { kernel.count }
}

/// The attributes that convolutions and poolings have in common.
///
/// Source of the output extents: the formulas of Conv-11, MaxPool-12 and AveragePool-19 in ONNX's operator list.
public struct WindowAttributes: Sendable {
    /// The extents of the window, where the attribute is given.
    public let kernelShape: [Int]?
    /// The steps; 1 along each axis where nil.
    public let strides: [Int]?
    /// The distances of the window's elements; 1 along each axis where nil.
    public let dilations: [Int]?
    /// The padding, all beginnings and then all ends; 0 where nil.
    public let pads: [Int]?
    /// How padding is chosen.
    public let autoPad: AutoPad
    /// Whether the number of windows is rounded up (poolings).
    public let roundsUp: Bool

    private let node: Node

    /// The attributes of a node, checked.
    ///
    /// - Throws: ``AttributeError`` for a wrong kind, length or sign.
    public init(_ node: Node) throws(AttributeError) {
        self.node = node
        let reader = AttributeReader(node)
        kernelShape = try reader.ints("kernel_shape")
        strides = try reader.ints("strides").flatMap { $0.isEmpty ? nil : $0 }
        dilations = try reader.ints("dilations").flatMap { $0.isEmpty ? nil : $0 }
        pads = try reader.ints("pads").flatMap { $0.isEmpty ? nil : $0 }
        let pad = try reader.string("auto_pad")
        autoPad = pad == "" ? .explicit : try reader.choice("auto_pad", default: .explicit)
        roundsUp = try reader.flag("ceil_mode")
        for (name, values) in [("kernel_shape", kernelShape), ("strides", strides), ("dilations", dilations)] {
            if let values, values.contains(where: { $0 <= 0 || $0 > Self.extentLimit }) {
                throw reader.failure(name, "is \(values); every entry must be positive")
            }
        }
        if let pads, pads.contains(where: { $0.magnitude > Self.extentLimit }) {
            throw reader.failure("pads", "is \(pads), which is too large")
        }
    }

    /// The largest extent that a file may declare for a window.
    static let extentLimit = 1 << 30

    /// The steps along each of `rank` axes.
    public func strides(rank: Int) throws(AttributeError) -> [Int] { try list(strides, "strides", rank) }
    /// The distances along each of `rank` axes.
    public func dilations(rank: Int) throws(AttributeError) -> [Int] { try list(dilations, "dilations", rank) }

    /// The padding at the beginnings and the ends of `rank` axes, before ``autoPad`` is looked at.
    public func explicitPads(rank: Int) throws(AttributeError) -> (begin: [Int], end: [Int]) {
        guard let pads else { return (Array(repeating: 0, count: rank), Array(repeating: 0, count: rank)) }
        guard pads.count == 2 * rank else {
            throw AttributeError(
                node: node, attribute: "pads", reason: "has \(pads.count) entries, but \(2 * rank) are needed")
        }
        return (Array(pads[..<rank]), Array(pads[rank...]))
    }

    private func list(_ values: [Int]?, _ name: String, _ rank: Int) throws(AttributeError) -> [Int] {
        guard let values else { return Array(repeating: 1, count: rank) }
        guard values.count == rank else {
            throw AttributeError(
                node: node, attribute: name, reason: "has \(values.count) entries, but there are \(rank) spatial axes")
        }
        return values
    }

    /// The window for an input of the given spatial extents.
    ///
    /// - Parameters:
    ///   - input: the spatial extents of the input.
    ///   - kernel: the spatial extents of the weight; nil for poolings, which take ``kernelShape``.
    /// - Throws: ``AttributeError`` where lengths differ, the window is larger than the padded input, or numbers
    ///   overflow.
    public func resolved(input: [Int], kernel: [Int]? = nil) throws(AttributeError) -> SpatialWindow {
        let rank = input.count
        guard let kernel = kernel ?? kernelShape else {
            throw AttributeError(node: node, attribute: "kernel_shape", reason: "is missing")
        }
        if let kernelShape, kernelShape != kernel {
            throw AttributeError(
                node: node, attribute: "kernel_shape", reason: "is \(kernelShape), but the weight's window is \(kernel)"
            )
        }
        guard kernel.count == rank else {
            throw AttributeError(
                node: node, attribute: "kernel_shape",
                reason: "has \(kernel.count) entries, but there are \(rank) spatial axes")
        }
        let strides = try strides(rank: rank)
        let dilations = try dilations(rank: rank)
        var (begin, end) = try explicitPads(rank: rank)
        var output: [Int] = []
        for axis in 0..<rank {
            let (span, overflow) = (kernel[axis] - 1).multipliedReportingOverflow(by: dilations[axis])
            guard !overflow, span < Int.max / 4, input[axis] >= 0, input[axis] < Int.max / 4 else {
                throw AttributeError(node: node, attribute: "dilations", reason: "make a window that is too large")
            }
            let window = span + 1
            switch autoPad {
            case .explicit: break
            case .valid:
                begin[axis] = 0
                end[axis] = 0
            case .sameUpper, .sameLower:
                let windows = (input[axis] + strides[axis] - 1) / strides[axis]
                let total = max(0, (windows - 1) * strides[axis] + window - input[axis])
                begin[axis] = autoPad == .sameUpper ? total / 2 : total - total / 2
                end[axis] = total - begin[axis]
            }
            let padded = input[axis] + begin[axis] + end[axis]
            guard padded >= window || input[axis] == 0 else {
                throw AttributeError(
                    node: node, attribute: "kernel_shape",
                    reason: "makes a window of \(window) on axis \(axis + 2), whose padded extent is only \(padded)")
            }
            let room = max(padded - window, -strides[axis])
            var windows = room / strides[axis] + 1
            if roundsUp, autoPad == .explicit {
                windows = (room + strides[axis] - 1) / strides[axis] + 1
                // A window that would start in the padding at the end is not there.
                if (windows - 1) * strides[axis] >= input[axis] + begin[axis] { windows -= 1 }
            }
            output.append(max(windows, 0))
        }
        return SpatialWindow(
            kernel: kernel, strides: strides, dilations: dilations, padsBegin: begin, padsEnd: end, output: output)
    }

    /// The spatial extents of the output where those of the input may be expressions.
    func outputExtents(input: [Extent], kernel: [Int]?) throws(AttributeError) -> [Extent] {
        let rank = input.count
        let numbers = input.map { if case .fixed(let value) = $0, value >= 0 { value } else { -1 } }
        guard let kernel = kernel ?? kernelShape else { return Array(repeating: .unknown, count: rank) }
        // Axes whose extent is no number stand in with one that fits any window.
        let span = (0..<rank).map { axis -> Int in
            let count = kernel.indices.contains(axis) ? kernel[axis] : 1
            let step = dilations.map { $0.indices.contains(axis) ? $0[axis] : 1 } ?? 1
            let (product, overflow) = count.multipliedReportingOverflow(by: step)
            return overflow ? Int.max / 8 : min(product, Int.max / 8)
        }
        let stand = zip(numbers, span).map { $0 >= 0 ? $0 : $1 }
        let window = try resolved(input: stand, kernel: kernel)
        return (0..<rank).map { axis in
            if numbers[axis] >= 0 { return .fixed(window.output[axis]) }
            let stride = window.strides[axis]
            switch autoPad {
            case .sameUpper, .sameLower: return input[axis].ceilDivided(by: stride)
            case .explicit, .valid:
                let pads = autoPad == .valid ? 0 : window.padsBegin[axis] + window.padsEnd[axis]
                let reach = (kernel[axis] - 1) * window.dilations[axis] + 1
                let room = input[axis] + .fixed(pads - reach)
                if roundsUp, autoPad == .explicit {
                    // The correction for windows that start in the end padding is only known for numbers.
                    return stride == 1 || window.padsEnd[axis] == 0 && window.padsBegin[axis] == 0
                        ? room.ceilDivided(by: stride) + .fixed(1) : .unknown
                }
                return room.floorDivided(by: .fixed(stride)) + .fixed(1)
            }
        }
    }
}
