import CHDF5
import GraftCore

/// What the type of a data set or attribute means.
enum StoredType {
    /// Elements of tensors; `isNative` where the stored bytes are those of the tensor.
    case elements(ElementType, isNative: Bool)
    /// Texts.
    case strings(HDF5StringFormat)
    /// Bytes without meaning, of the given size; an attribute may say what they are.
    case opaque(size: Int)
    /// Anything else.
    case unsupported(String)
}

extension StoredType {
    /// Reads a type of the HDF5 library.
    init(_ type: hid_t) {
        let size = H5Tget_size(type)
        switch H5Tget_class(type) {
        case H5T_INTEGER: self = Self.integer(type, size: size)
        case H5T_FLOAT: self = Self.floatingPoint(type)
        case H5T_STRING: self = Self.string(type, size: size)
        case H5T_OPAQUE: self = .opaque(size: size)
        case H5T_ENUM: self = Self.enumeration(type, size: size)
        case H5T_COMPOUND: self = .unsupported("compounds")
        case H5T_REFERENCE: self = .unsupported("references")
        case H5T_VLEN: self = .unsupported("lists of varying length")
        case H5T_ARRAY: self = .unsupported("arrays as elements")
        case H5T_TIME: self = .unsupported("times")
        case H5T_BITFIELD: self = .unsupported("bit fields")
        default: self = .unsupported("elements of an unknown type")
        }
    }

    private static func integer(_ type: hid_t, size: Int) -> StoredType {
        let isSigned = H5Tget_sign(type) == H5T_SGN_2
        let element: ElementType
        switch (size, isSigned) {
        case (1, true): element = .int8
        case (1, false): element = .uint8
        case (2, true): element = .int16
        case (2, false): element = .uint16
        case (4, true): element = .int32
        case (4, false): element = .uint32
        case (8, true): element = .int64
        case (8, false): element = .uint64
        default: return .unsupported("integers of \(size) bytes")
        }
        return elements(element, stored: type)
    }

    private static func floatingPoint(_ type: hid_t) -> StoredType {
        for element in [ElementType.float32, .float64, .float16, .bfloat16] {
            guard let little = memoryType(of: element) else { continue }
            if H5Tequal(type, little.id) > 0 { return .elements(element, isNative: true) }
            if H5Tset_order(little.id, H5T_ORDER_BE) >= 0, H5Tequal(type, little.id) > 0 {
                return .elements(element, isNative: false)
            }
        }
        return .unsupported("floating-point numbers of \(H5Tget_precision(type)) bits in an unknown layout")
    }

    private static func string(_ type: hid_t, size: Int) -> StoredType {
        let isVariable = H5Tis_variable_str(type) > 0
        guard isVariable || size > 0, let characters = characters(of: type) else {
            return .unsupported("texts of an unknown form")
        }
        let padding: HDF5StringFormat.Padding =
            switch H5Tget_strpad(type) {
            case H5T_STR_NULLPAD: .nullPadded
            case H5T_STR_SPACEPAD: .spacePadded
            default: .nullTerminated
            }
        return .strings(
            HDF5StringFormat(characters: characters, padding: padding, fixedLength: isVariable ? nil : size))
    }

    private static func characters(of type: hid_t) -> HDF5StringFormat.Characters? {
        switch H5Tget_cset(type) {
        case H5T_CSET_ASCII: .ascii
        case H5T_CSET_UTF8: .utf8
        default: nil
        }
    }

    /// Truth values are an enumeration of bytes, `FALSE` 0 and `TRUE` 1, as h5py writes them.
    private static func enumeration(_ type: hid_t, size: Int) -> StoredType {
        guard size == 1, H5Tget_nmembers(type) == 2 else { return .unsupported("enumerations") }
        for (name, expected) in [("FALSE", Int8(0)), ("TRUE", 1)] {
            var value: Int8 = -1
            guard H5Tenum_valueof(type, name, &value) >= 0, value == expected else {
                return .unsupported("enumerations")
            }
        }
        return .elements(.bool, isNative: true)
    }

    private static func elements(_ element: ElementType, stored: hid_t) -> StoredType {
        guard let memory = memoryType(of: element) else { return .unsupported(element.name) }
        return .elements(element, isNative: H5Tequal(stored, memory.id) > 0)
    }

    /// The library's type of a tensor's elements: little-endian; nil where it has none.
    ///
    /// float16 and bfloat16 are made from float32 by moving the fields.
    static func memoryType(of element: ElementType) -> Handle? {
        switch element {
        case .int8: copy(graft_h5t_i8le())
        case .int16: copy(graft_h5t_i16le())
        case .int32: copy(graft_h5t_i32le())
        case .int64: copy(graft_h5t_i64le())
        case .uint8: copy(graft_h5t_u8le())
        case .uint16: copy(graft_h5t_u16le())
        case .uint32: copy(graft_h5t_u32le())
        case .uint64: copy(graft_h5t_u64le())
        case .float32: copy(graft_h5t_f32le())
        case .float64: copy(graft_h5t_f64le())
        case .float16: halfWidth(exponentBits: 5, bias: 15)
        case .bfloat16: halfWidth(exponentBits: 8, bias: 127)
        case .bool: truthValue()
        default: nil
        }
    }

    /// The type of opaque bytes.
    static func opaqueType(size: Int) -> Handle? { Handle(H5Tcreate(H5T_OPAQUE, size), close: H5Tclose) }

    /// The type of texts in memory and in the file.
    static func stringType(_ format: HDF5StringFormat) -> Handle? {
        guard let type = copy(graft_h5t_c_s1()) else { return nil }
        let size = format.fixedLength ?? graft_h5t_variable()
        let padding: H5T_str_t =
            switch format.padding {
            case .nullTerminated: H5T_STR_NULLTERM
            case .nullPadded: H5T_STR_NULLPAD
            case .spacePadded: H5T_STR_SPACEPAD
            }
        guard H5Tset_size(type.id, size) >= 0, H5Tset_strpad(type.id, padding) >= 0,
            H5Tset_cset(type.id, format.characters == .utf8 ? H5T_CSET_UTF8 : H5T_CSET_ASCII) >= 0
        else { return nil }
        return type
    }

    private static func copy(_ type: hid_t) -> Handle? { Handle(H5Tcopy(type), close: H5Tclose) }

    private static func halfWidth(exponentBits: Int, bias: Int) -> Handle? {
        let mantissaBits = 15 - exponentBits
        guard let type = copy(graft_h5t_f32le()),
            H5Tset_fields(type.id, 15, mantissaBits, exponentBits, 0, mantissaBits) >= 0,
            H5Tset_precision(type.id, 16) >= 0, H5Tset_ebias(type.id, bias) >= 0, H5Tset_size(type.id, 2) >= 0
        else { return nil }
        return type
    }

    private static func truthValue() -> Handle? {
        guard let type = Handle(H5Tenum_create(graft_h5t_i8le()), close: H5Tclose) else { return nil }
        for (name, number) in [("FALSE", Int8(0)), ("TRUE", 1)] {
            var value = number
            guard H5Tenum_insert(type.id, name, &value) >= 0 else { return nil }
        }
        return type
    }
}

/// Number formats that HDF5 does not know: stored as opaque bytes, named by an attribute `dtype`.
///
/// Keras writes bfloat16 so (`H5IOStore` in `keras/src/saving/saving_lib.py`); the 8-bit floats follow the same rule.
enum OpaqueElements {
    /// The attribute that names the format.
    static let attribute = "dtype"

    private static let names: [(name: String, type: ElementType)] = [
        ("bfloat16", .bfloat16), ("float8_e4m3fn", .float8e4m3fn), ("float8_e5m2", .float8e5m2),
    ]

    /// The type with the given name and size in bytes.
    static func type(named name: String, size: Int) -> ElementType? {
        names.first { $0.name == name && $0.type.byteWidth == size }?.type
    }

    /// The name of a type that is stored so.
    static func name(of type: ElementType) -> String? { names.first { $0.type == type }?.name }
}
