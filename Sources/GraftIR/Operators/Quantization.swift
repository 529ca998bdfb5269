import GraftCore

/// The settings of QuantizeLinear and DequantizeLinear, whatever their version.
public struct QuantizationAttributes: Sendable {
    /// The axis that scales refer to; negative counts from the end.
    public let axis: Int
    /// How many elements along the axis share a scale; 0 where scales are per tensor or per axis entry.
    public let blockSize: Int
    /// The type of the result where it is an attribute.
    public let outputType: ElementType?
    /// Whether numbers beyond an 8-bit floating-point type become its largest.
    public let saturates: Bool

    /// The settings of a node.
    ///
    /// - Throws: ``AttributeError`` for an attribute of the wrong kind.
    public init(_ node: Node, opset: Int) throws(AttributeError) {
        let reader = AttributeReader(node)
        axis = try reader.int("axis", default: 1)
        blockSize = try reader.int("block_size", default: 0)
        let type = try reader.int("output_dtype", default: 0)
        outputType = type == 0 ? nil : try reader.elementType("output_dtype")
        saturates = try reader.flag("saturate", default: true)
        if blockSize < 0 { throw reader.failure("block_size", "is \(blockSize)") }
    }
}

/// Operators on quantised tensors.
enum Quantization: OperatorFamily {
    static let schemas: [OperatorSchema] = [
        OperatorSchema(
            "QuantizeLinear", versions: [10, 13, 19, 21, 23, 24, 25, 28], inputs: 2...3,
            gradient: .unsupported(reason: "rounds to few levels; a quantised model cannot be trained as it is"),
            inference: { context in
                let attributes = try QuantizationAttributes(context.node, opset: context.opset)
                let type = context.has(2) ? context.elementType(2) : attributes.outputType ?? .uint8
                context.setTensor(type, context.shape(0)?.plain)
            }),
        OperatorSchema(
            "DequantizeLinear", versions: [10, 13, 19, 21, 23, 24, 25, 28], inputs: 2...3,
            gradient: .unsupported(reason: "its scales have no gradient rule"),
            inference: { context in
                let attributes = try QuantizationAttributes(context.node, opset: context.opset)
                let type = attributes.outputType ?? (context.opset < 19 ? .float32 : context.elementType(1))
                context.setTensor(type, context.shape(0)?.plain)
            }),
        OperatorSchema(
            "DynamicQuantizeLinear", versions: [11], inputs: 1...1, outputs: 3...3,
            gradient: .unsupported(reason: "rounds to few levels; a quantised model cannot be trained as it is"),
            inference: { context in
                context.setLike(0, elementType: .uint8)
                context.setTensor(.float32, [], of: 1)
                context.setTensor(.uint8, [], of: 2)
            }),
        OperatorSchema(
            "ConvInteger", versions: [10], inputs: 2...4, gradient: .none,
            inference: { context in
                context.setTensor(.int32, try Convolution.outputShape(context, input: 0, weight: 1))
            }),
        OperatorSchema(
            "QLinearConv", versions: [10], inputs: 8...9, gradient: .none,
            inference: { context in
                context.setTensor(context.elementType(7), try Convolution.outputShape(context, input: 0, weight: 3))
            }),
    ]
}
