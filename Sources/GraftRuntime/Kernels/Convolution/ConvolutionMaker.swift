import CNumerics
import COneDNN
import GraftCore

/// What computes a convolution for one combination of shapes, and the layouts of what it reads and writes.
struct PreparedConvolution {
    let shape: ConvolutionShape
    let hasBias: Bool
    let wasAskedToFuse: Bool
    /// The post-operations that are applied on the way, the first ones.
    let fusedCount: Int
    /// Whether the tensor that is added lies where the result goes.
    let sums: Bool
    let algorithm: Algorithm
    let stored: MemoryDescriptor
    let weights: MemoryDescriptor
    /// The memory order that the input is brought into.
    let sourceOrder: Layout
    let targetOrder: Layout
    /// What brings the input into a layout that only the primitive knows, and the result out of one.
    var source: LayoutConverter?
    var sourceLayout: MemoryDescriptor?
    var target: LayoutConverter?
    var targetLayout: MemoryDescriptor?

    enum Algorithm {
        case primitive(Primitive)
        case winograd(WinogradConvolution)
        case depthwise(DepthwiseConvolution)
    }
}

/// Finds the fastest way to compute a convolution.
struct ConvolutionMaker {
    let shape: ConvolutionShape
    let isTransposed: Bool
    let hasBias: Bool
    let postOperations: [PostOperation]
    let fuses: Bool
    let allowsBF16: Bool
    /// Whether a result in blocks is rounded to bfloat16.
    let rounds: Bool
    let isConstant: Bool

    private struct Request {
        var source: MemoryDescriptor
        var target: MemoryDescriptor
        var fuses: Bool
        var sums = false
    }

    private var adds: Bool { postOperations.contains { if case .add = $0 { true } else { false } } }

    /// The type that products are computed in.
    private var type: ElementType { allowsBF16 && isConstant ? .bfloat16 : .float32 }

    /// The blocks that hold numbers of that type.
    private var blocks: Layout { type == .bfloat16 ? .roundedBlocks : .blocked }

    private func make(_ request: Request) throws -> Primitive? {
        let any = try MemoryDescriptor.any(type, shape.weights)
        let bias = hasBias ? try MemoryDescriptor.strided(.float32, [shape.target[1]]) : nil
        let plainTarget = try MemoryDescriptor.channelsLast(.float32, shape.target)
        let operand = request.target.isAny ? plainTarget : request.target
        var window = shape.window.native
        return try withAttributes(
            request.fuses ? postOperations : [], operand: operand, sums: request.sums
        ) { attributes in
            try Primitive.make { result in
                isTransposed
                    ? gdnn_deconvolution(
                        result, Int32(GDNN_FORWARD_INFERENCE.rawValue), request.source.handle, any.handle,
                        bias?.handle, request.target.handle, &window, attributes)
                    : gdnn_convolution(
                        result, Int32(GDNN_FORWARD_INFERENCE.rawValue), request.source.handle, any.handle,
                        bias?.handle, request.target.handle, &window, attributes)
            }
        }
    }

    /// What works between tensors in blocks of channels; nil where nothing fast does.
    func inBlocks() throws -> PreparedConvolution? {
        guard shape.source.count == 4, !isTransposed, fuses || postOperations.isEmpty else { return nil }
        let sourceOrder: Layout = shape.source[1] <= 4 ? .rowMajor : blocks
        let targetOrder: Layout = rounds ? blocks : .blocked
        let source = try MemoryDescriptor.ordered(type, shape.source, sourceOrder)
        let target = try MemoryDescriptor.ordered(.float32, shape.target, targetOrder)
        if let own = try ownAlgorithm() { return own }
        var requests = [Request(source: source, target: target, fuses: true, sums: adds)]
        if adds { requests.append(Request(source: source, target: target, fuses: true)) }
        for request in requests {
            guard let primitive = try make(request), !primitive.isReference, !primitive.name.contains("gemm"),
                let weights = primitive.layout(GDNN_ARG_WEIGHTS)
            else { continue }
            var made = PreparedConvolution(
                shape: shape, hasBias: hasBias, wasAskedToFuse: fuses, fusedCount: postOperations.count,
                sums: request.sums, algorithm: .primitive(primitive),
                stored: try shape.storedWeights(.float32, transposed: false), weights: weights,
                sourceOrder: sourceOrder, targetOrder: targetOrder)
            if type != .float32, sourceOrder == .rowMajor {
                made.source = try LayoutConverter(
                    from: .ordered(.float32, shape.source, sourceOrder), to: source)
                made.sourceLayout = source
            }
            return made
        }
        return nil
    }

    /// An algorithm of our own that is faster than oneDNN's.
    private func ownAlgorithm() throws -> PreparedConvolution? {
        func prepared(
            _ algorithm: PreparedConvolution.Algorithm, fusedCount: Int, sums: Bool = false, weights: ElementType,
            canRound: Bool
        ) throws -> PreparedConvolution {
            // What follows in steps of its own is computed in 32 bits.
            let target = rounds && canRound && fusedCount == postOperations.count ? blocks : .blocked
            return PreparedConvolution(
                shape: shape, hasBias: hasBias, wasAskedToFuse: fuses, fusedCount: fusedCount, sums: sums,
                algorithm: algorithm, stored: try shape.storedWeights(.float32, transposed: false),
                weights: try .filterBlocks(shape.weights, weights), sourceOrder: canRound ? blocks : .blocked,
                targetOrder: target)
        }
        guard isConstant else { return nil }
        if let winograd = WinogradConvolution(shape, postOperations) {
            let canRound = cwinograd_has_integers() != 0
            return try prepared(
                .winograd(winograd), fusedCount: winograd.postOperationCount, sums: winograd.addend != nil,
                weights: canRound ? type : .float32, canRound: canRound)
        }
        if shape.weights.count == 5, shape.weights[1...2] == [1, 1],
            let depthwise = DepthwiseConvolution(shape.window, target: shape.target, postOperations)
        {
            let canRound = cdepthwise_rounds() != 0
            return try prepared(
                .depthwise(depthwise), fusedCount: depthwise.postOperationCount, weights: .float32, canRound: canRound)
        }
        return nil
    }

    /// A primitive between tensors with their channels last.
    ///
    /// - Throws: ``KernelFailure`` where oneDNN has none.
    func channelsLast() throws -> PreparedConvolution {
        let source = try MemoryDescriptor.channelsLast(.float32, shape.source)
        let asked = try MemoryDescriptor.channelsLast(type, shape.source)
        let target = try MemoryDescriptor.channelsLast(.float32, shape.target)
        var fused = fuses
        var primitive = try make(Request(source: asked, target: target, fuses: fused))
        if primitive?.isReference ?? true, fused, !postOperations.isEmpty {
            // The post-operations may be what has no fast implementation.
            let bare = try make(Request(source: asked, target: target, fuses: false))
            if let bare, !bare.isReference || primitive == nil {
                primitive = bare
                fused = false
            }
        }
        if primitive?.isReference ?? true, !(fused && adds) {
            // The layout that oneDNN prefers may have a fast implementation where channels-last has none.
            let free = try make(
                Request(
                    source: .any(type, shape.source), target: .any(.float32, shape.target), fuses: fused))
            if let free, !free.isReference || primitive == nil { primitive = free }
        }
        guard let primitive, let weights = primitive.layout(GDNN_ARG_WEIGHTS),
            let wantedSource = primitive.layout(GDNN_ARG_SRC), let wantedTarget = primitive.layout(GDNN_ARG_DST)
        else { throw KernelFailure("oneDNN has no convolution for shapes \(shape.source) and \(shape.weights)") }
        var made = PreparedConvolution(
            shape: shape, hasBias: hasBias, wasAskedToFuse: fuses, fusedCount: fused ? postOperations.count : 0,
            sums: false, algorithm: .primitive(primitive),
            stored: try shape.storedWeights(.float32, transposed: isTransposed), weights: weights,
            sourceOrder: .channelsLast, targetOrder: .channelsLast)
        if !wantedSource.isEqual(to: source) {
            made.source = try LayoutConverter(from: source, to: wantedSource)
            made.sourceLayout = wantedSource
        }
        if !wantedTarget.isEqual(to: target) {
            made.target = try LayoutConverter(from: wantedTarget, to: target)
            made.targetLayout = wantedTarget
        }
        return made
    }
}
