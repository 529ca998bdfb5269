import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

extension WriteContext {
    /// The message of a type.
    func type(
        _ type: ValueType, of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<Onnx__TypeProto> {
        let message = try message(Onnx__TypeProto.self, from: type.carried, of: place())
        set(type.denotation, type.carried, 6, &message.pointee.has_denotation, &message.pointee.denotation)
        let carried = type.kindCarried
        switch type.kind {
        case .unspecified: break
        case .tensor(let element, let shape):
            let inner = try self.message(Onnx__TypeProto__Tensor.self, from: carried, of: place())
            set(element, carried, &inner.pointee.has_elem_type, &inner.pointee.elem_type)
            inner.pointee.shape = try self.shape(shape, over: inner.pointee.shape, of: place())
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE
            message.pointee.tensor_type = inner
        case .sparseTensor(let element, let shape):
            let inner = try self.message(Onnx__TypeProto__SparseTensor.self, from: carried, of: place())
            set(element, carried, &inner.pointee.has_elem_type, &inner.pointee.elem_type)
            inner.pointee.shape = try self.shape(shape, over: inner.pointee.shape, of: place())
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE
            message.pointee.sparse_tensor_type = inner
        case .sequence(let element):
            let inner = try self.message(Onnx__TypeProto__Sequence.self, from: carried, of: place())
            if let element { inner.pointee.elem_type = try self.type(element, of: place()) }
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE
            message.pointee.sequence_type = inner
        case .optional(let element):
            let inner = try self.message(Onnx__TypeProto__Optional.self, from: carried, of: place())
            if let element { inner.pointee.elem_type = try self.type(element, of: place()) }
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE
            message.pointee.optional_type = inner
        case .map(let key, let element):
            let inner = try self.message(Onnx__TypeProto__Map.self, from: carried, of: place())
            set(key, carried, &inner.pointee.has_key_type, &inner.pointee.key_type)
            if let element { inner.pointee.value_type = try self.type(element, of: place()) }
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_MAP_TYPE
            message.pointee.map_type = inner
        case .opaque(let domain, let name):
            let inner = try self.message(Onnx__TypeProto__Opaque.self, from: carried, of: place())
            set(domain, carried, 1, &inner.pointee.has_domain, &inner.pointee.domain)
            set(name, carried, 2, &inner.pointee.has_name, &inner.pointee.name)
            message.pointee.value_case = ONNX__TYPE_PROTO__VALUE_OPAQUE_TYPE
            message.pointee.opaque_type = inner
        }
        return message
    }

    private func set(
        _ element: ElementType?, _ carried: Carried, _ isPresent: inout protobuf_c_boolean, _ target: inout Int32
    ) {
        // A code that the IR does not know is in the carried fields, and there already.
        if let element {
            isPresent = 1
            target = element.rawValue
        } else if carried.isExplicit(1) {
            isPresent = 1
        }
    }

    private func shape(
        _ shape: SymbolicShape?, over carried: UnsafeMutablePointer<Onnx__TensorShapeProto>?,
        of place: @autoclosure () -> String
    ) throws(ONNXError) -> UnsafeMutablePointer<Onnx__TensorShapeProto>? {
        guard let shape else { return nil }
        let message = carried ?? arena.message(Onnx__TensorShapeProto.self)
        (message.pointee.n_dim, message.pointee.dim) = try list(shape.dimensions) { dimension throws(ONNXError) in
            let entry = try self.message(
                Onnx__TensorShapeProto__Dimension.self, from: dimension.carried, of: place())
            set(
                dimension.denotation, dimension.carried, 3, &entry.pointee.has_denotation, &entry.pointee.denotation)
            switch dimension.extent {
            case .fixed(let count):
                entry.pointee.value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
                entry.pointee.dim_value = Int64(count)
            case .symbol(let name):
                entry.pointee.value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                entry.pointee.dim_param = data(name)
            case .unknown:
                guard dimension.carried.isExplicit(2) else { break }
                entry.pointee.value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                entry.pointee.dim_param = data("")
            }
            return entry
        }
        return message
    }
}
