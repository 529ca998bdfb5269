import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension ReadContext {
    /// The type of a value; nil where the file says nothing.
    func type(
        _ pointer: UnsafeMutablePointer<Onnx__TypeProto>?, of place: @autoclosure () -> String
    ) throws(ONNXError) -> ValueType? {
        guard let message = pointer?.pointee else { return nil }
        var carried = Carried(fields: residual(message))
        carried.note(6, message.has_denotation, message.denotation)
        var type = ValueType(
            .unspecified, denotation: try text(message.denotation, "denotation", of: place()), carried: carried)
        switch message.value_case {
        case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
            guard let inner = message.tensor_type?.pointee else { break }
            let (element, shape, rest) = try array(
                inner, inner.has_elem_type, inner.elem_type, inner.shape, of: place()
            ) {
                $0.has_elem_type = 1
                $0.elem_type = inner.elem_type
            } keepShape: {
                $0.shape = $1
            }
            type.kind = .tensor(element, shape)
            type.kindCarried = rest
        case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
            guard let inner = message.sparse_tensor_type?.pointee else { break }
            let (element, shape, rest) = try array(
                inner, inner.has_elem_type, inner.elem_type, inner.shape, of: place()
            ) {
                $0.has_elem_type = 1
                $0.elem_type = inner.elem_type
            } keepShape: {
                $0.shape = $1
            }
            type.kind = .sparseTensor(element, shape)
            type.kindCarried = rest
        case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
            guard let inner = message.sequence_type?.pointee else { break }
            type.kind = .sequence(try self.type(inner.elem_type, of: place()))
            type.kindCarried = Carried(fields: residual(inner))
        case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
            guard let inner = message.optional_type?.pointee else { break }
            type.kind = .optional(try self.type(inner.elem_type, of: place()))
            type.kindCarried = Carried(fields: residual(inner))
        case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
            guard let inner = message.map_type?.pointee else { break }
            let key = ElementType(rawValue: inner.key_type)
            type.kind = .map(key, try self.type(inner.value_type, of: place()))
            let isForeignKey = key == nil && inner.key_type != 0
            type.kindCarried = Carried(
                fields: residual(inner) {
                    guard isForeignKey else { return }
                    $0.has_key_type = 1
                    $0.key_type = inner.key_type
                })
            type.kindCarried.note(1, inner.has_key_type, inner.key_type)
        case ONNX__TYPE_PROTO__VALUE_OPAQUE_TYPE:
            guard let inner = message.opaque_type?.pointee else { break }
            type.kind = .opaque(
                domain: try text(inner.domain, "opaque_type.domain", of: place()),
                name: try text(inner.name, "opaque_type.name", of: place()))
            type.kindCarried = Carried(fields: residual(inner))
            type.kindCarried.note(1, inner.has_domain, inner.domain)
            type.kindCarried.note(2, inner.has_name, inner.name)
        default: break
        }
        return type
    }

    /// The element type and shape of a dense or sparse tensor type, which share their form.
    private func array<M: ProtoMessage>(
        _ message: M, _ hasElement: protobuf_c_boolean, _ code: Int32,
        _ shape: UnsafeMutablePointer<Onnx__TensorShapeProto>?, of place: @autoclosure () -> String,
        keepElement: (inout M) -> Void,
        keepShape: (inout M, UnsafeMutablePointer<Onnx__TensorShapeProto>) -> Void
    ) throws(ONNXError) -> (ElementType?, SymbolicShape?, Carried) {
        let element = ElementType(rawValue: code)
        var carried = Carried.nothing
        let isForeignElement = element == nil && code != 0
        let isForeignShape = (shape?.pointee.base.n_unknown_fields ?? 0) > 0
        if isForeignElement || isForeignShape || message.base.n_unknown_fields > 0 {
            var unknownShape = Onnx__TensorShapeProto.fresh()
            if let shape { unknownShape.base = shape.pointee.base }
            carried.fields = withUnsafeMutablePointer(to: &unknownShape) { unknownShape in
                residual(message) {
                    if isForeignElement { keepElement(&$0) }
                    if isForeignShape { keepShape(&$0, unknownShape) }
                }
            }
        }
        carried.note(1, hasElement, code)
        guard let shape = shape?.pointee else { return (element, nil, carried) }
        var dimensions: [Dimension] = []
        dimensions.reserveCapacity(shape.n_dim)
        for case let dimension? in UnsafeBufferPointer(start: shape.dim, count: shape.n_dim) {
            dimensions.append(try self.dimension(dimension.pointee, of: place()))
        }
        return (element, SymbolicShape(dimensions), carried)
    }

    private func dimension(
        _ message: Onnx__TensorShapeProto__Dimension, of place: @autoclosure () -> String
    ) throws(ONNXError) -> Dimension {
        var carried = Carried(fields: residual(message))
        carried.note(3, message.has_denotation, message.denotation)
        var extent = Extent.unknown
        switch message.value_case {
        case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE: extent = .fixed(Int(message.dim_value))
        case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
            // An empty name names nothing: two of them need not be the same extent.
            if message.dim_param.len == 0 {
                carried.markExplicit(2)
            } else {
                extent = .symbol(try text(message.dim_param, "dim_param", of: place()))
            }
        default: break
        }
        return Dimension(
            extent, denotation: try text(message.denotation, "denotation", of: place()), carried: carried)
    }
}
