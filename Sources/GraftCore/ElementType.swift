/// The type of a tensor's elements: the 28 element types of ONNX, with ONNX's own codes.
///
/// Source of the codes and of the packing rules: `TensorProto.DataType` in onnx.proto (IR version 14).
public enum ElementType: Int32, Sendable, Hashable, CaseIterable, Codable {
    case float32 = 1
    case uint8 = 2
    case int8 = 3
    case uint16 = 4
    case int16 = 5
    case int32 = 6
    case int64 = 7
    case string = 8
    case bool = 9
    case float16 = 10
    case float64 = 11
    case uint32 = 12
    case uint64 = 13
    case complex64 = 14
    case complex128 = 15
    case bfloat16 = 16
    case float8e4m3fn = 17
    case float8e4m3fnuz = 18
    case float8e5m2 = 19
    case float8e5m2fnuz = 20
    case uint4 = 21
    case int4 = 22
    case float4e2m1 = 23
    case float8e8m0 = 24
    case uint2 = 25
    case int2 = 26
    case float6e2m3 = 27
    case float6e3m2 = 28

    /// The size of one element in bits; 0 for strings, which have no fixed size.
    @inlinable public var bitWidth: Int {
        switch self {
        case .string: 0
        case .uint2, .int2: 2
        case .uint4, .int4, .float4e2m1: 4
        case .float6e2m3, .float6e3m2: 6
        case .uint8, .int8, .bool, .float8e4m3fn, .float8e4m3fnuz, .float8e5m2, .float8e5m2fnuz, .float8e8m0: 8
        case .uint16, .int16, .float16, .bfloat16: 16
        case .float32, .int32, .uint32: 32
        case .float64, .int64, .uint64, .complex64: 64
        case .complex128: 128
        }
    }

    /// The number of bytes that `count` packed elements take, or nil where the product overflows.
    ///
    /// Elements narrower than a byte are packed without gaps; the last byte is padded.
    @inlinable public func byteCount(elements count: Int) -> Int? {
        let (bits, overflow) = count.multipliedReportingOverflow(by: bitWidth)
        guard !overflow, count >= 0 else { return nil }
        return bits / 8 + (bits % 8 == 0 ? 0 : 1)
    }

    /// The size of one element in bytes, for types of at least one byte; 0 for strings and packed types.
    @inlinable public var byteWidth: Int { bitWidth / 8 }

    /// Whether elements are narrower than a byte and packed.
    @inlinable public var isPacked: Bool { bitWidth > 0 && bitWidth < 8 }

    /// Whether elements are real floating-point numbers of any width.
    public var isFloatingPoint: Bool {
        switch self {
        case .float32, .float16, .float64, .bfloat16, .float8e4m3fn, .float8e4m3fnuz, .float8e5m2, .float8e5m2fnuz,
            .float4e2m1, .float8e8m0, .float6e2m3, .float6e3m2:
            true
        default: false
        }
    }

    /// Whether elements are signed or unsigned integers of any width.
    public var isInteger: Bool {
        switch self {
        case .uint8, .int8, .uint16, .int16, .int32, .int64, .uint32, .uint64, .uint4, .int4, .uint2, .int2: true
        default: false
        }
    }

    /// The type's name as ONNX spells it in lower case, such as `float`, `int64` or `float8e4m3fn`.
    public var name: String {
        switch self {
        case .float32: "float"
        case .float64: "double"
        default: "\(self)"
        }
    }

    /// The type with the given ONNX name (`float`, `double`, `int64`, ...) or Swift name (`float32`, ...).
    public init?(name: String) {
        let lowered = name.lowercased()
        guard let type = Self.allCases.first(where: { $0.name == lowered || "\($0)" == lowered }) else { return nil }
        self = type
    }
}
