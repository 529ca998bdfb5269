import GraftCore

/// The settings of a DFT, whatever its version.
public struct FourierAttributes: Sendable {
    /// The axis where it is an attribute (version 17); nil where it is the third input or left out.
    public let axis: Int?
    /// Whether the transform goes back.
    public let isInverse: Bool
    /// Whether only the first half of the frequencies is given.
    public let isOneSided: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        axis = opset < 20 ? try reader.int("axis", default: 1) : nil
        isInverse = try reader.flag("inverse")
        isOneSided = try reader.flag("onesided")
    }
}

/// Windows, transforms and other operators of signal processing.
enum Signal: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        window("BlackmanWindow"), window("HammingWindow"), window("HannWindow"),
        OperatorSchema(
            "DFT", versions: [17, 20], inputs: 1...3,
            gradient: .unsupported(reason: "Fourier transforms have no gradient rule"), inference: inferFourier),
        OperatorSchema(
            "STFT", versions: [17], inputs: 2...4,
            gradient: .unsupported(reason: "Fourier transforms have no gradient rule"), inference: inferShortTime),
        OperatorSchema(
            "MelWeightMatrix", versions: [17], inputs: 5...5, gradient: .none,
            inference: { context in
                let bins = context.integers(0)?.first
                let length = context.integers(1)?.first
                context.setTensor(
                    try context.reader.elementType("output_datatype") ?? .float32,
                    SymbolicShape(extents: [
                        length.map { .fixed(max($0, 0) / 2 + 1) } ?? .unknown, bins.map { .fixed($0) } ?? .unknown,
                    ]))
            }),
    ]

    private static func window(_ type: String) -> OperatorSchema {
        OperatorSchema(
            OperatorName(type), versions: [17], inputs: 1...1, gradient: .none,
            inference: { context in
                context.setTensor(
                    try context.reader.elementType("output_datatype") ?? .float32,
                    [Dimension(context.content(0)?.extents?.first ?? .unknown)])
            })
    }

    private static func inferFourier(_ context: inout InferenceContext) throws {
        let attributes = try FourierAttributes(context.node, opset: context.opset)
        guard let x = context.shape(0), x.rank >= 2 else {
            context.setTensor(context.elementType(0), nil)
            return
        }
        var extents = x.extents
        let given = attributes.axis ?? (context.has(2) ? context.integers(2)?.first : -2)
        guard let given else {
            context.setTensor(context.elementType(0), SymbolicShape(extents: extents.map { _ in .unknown }))
            return
        }
        let axis = try context.normalized(axis: given, rank: x.rank)
        if context.has(1) { extents[axis] = context.content(1)?.extents?.first ?? .unknown }
        if attributes.isOneSided, !attributes.isInverse {
            extents[axis] = extents[axis].floorDivided(by: .fixed(2)) + .fixed(1)
        }
        // A complex result has a last axis of two, a real one (the inverse of a one-sided transform) of one.
        extents[x.rank - 1] = .fixed(attributes.isOneSided && attributes.isInverse ? 1 : 2)
        context.setTensor(context.elementType(0), SymbolicShape(extents: extents))
    }

    private static func inferShortTime(_ context: inout InferenceContext) throws {
        let isOneSided = try context.reader.flag("onesided", default: true)
        let batch = context.shape(0).flatMap { $0.rank > 0 ? $0[0].extent : nil } ?? .unknown
        let signal = context.shape(0).flatMap { $0.rank > 1 ? $0[1].extent : nil } ?? .unknown
        let window = context.has(2) ? context.shape(2).flatMap { $0.rank == 1 ? $0[0].extent : nil } : nil
        let frame = context.content(3)?.extents?.first ?? window ?? .unknown
        let step = context.content(1)?.extents?.first ?? .unknown
        let frames = (signal - frame).floorDivided(by: step) + .fixed(1)
        let bins = isOneSided ? frame.floorDivided(by: .fixed(2)) + .fixed(1) : frame
        context.setTensor(context.elementType(0), SymbolicShape(extents: [batch, frames, bins, .fixed(2)]))
    }
}
