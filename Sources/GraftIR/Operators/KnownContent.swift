import GraftCore

/// What inference knows of a value's content.
public enum KnownContent: Sendable, Equatable {
    /// All of it.
    case tensor(Tensor)
    /// A tensor of at most one dimension whose elements are whole numbers: shapes that flow through a graph as data.
    ///
    /// An element that is not known is ``Extent/unknown``.
    case extents([Extent], isScalar: Bool)

    /// The most elements that are followed as data.
    public static let countLimit = 1024

    /// The whole numbers of a tensor of at most one dimension, as far as known.
    public var extents: [Extent]? {
        switch self {
        case .extents(let extents, _): extents
        case .tensor(let tensor): tensor.shape.count <= 1 ? tensor.smallIntegers()?.map { .fixed($0) } : nil
        }
    }

    /// The whole numbers, where all are known; of a tensor of any shape, row by row.
    public var integers: [Int]? {
        switch self {
        case .extents(let extents, _):
            extents.reduce(into: [Int]?.some([])) { result, extent in
                if case .fixed(let value) = extent { result?.append(value) } else { result = nil }
            }
        case .tensor(let tensor): tensor.smallIntegers()
        }
    }

    /// The numbers, where all are known; row by row.
    public var numbers: [Double]? {
        switch self {
        case .extents: integers?.map { Double($0) }
        case .tensor(let tensor): tensor.smallNumbers()
        }
    }

    /// Whether it is a scalar.
    public var isScalar: Bool {
        switch self {
        case .extents(_, let isScalar): isScalar
        case .tensor(let tensor): tensor.shape.isEmpty
        }
    }
}

extension Tensor {
    /// The elements as whole numbers: of an integer or boolean tensor, or of a floating-point one that holds only whole
    /// numbers; nil for more than `limit` elements or other types.
    public func smallIntegers(limit: Int = KnownContent.countLimit) -> [Int]? {
        guard count <= limit else { return nil }
        if elementType.isInteger || elementType == .bool { return (try? integers()) ?? nil }
        guard let values = smallNumbers(limit: limit) else { return nil }
        let whole = values.compactMap { Int(exactly: $0) }
        return whole.count == values.count ? whole : nil
    }

    /// The elements as numbers; nil for more than `limit` elements, strings, complex numbers and types narrower than a
    /// byte.
    public func smallNumbers(limit: Int = KnownContent.countLimit) -> [Double]? {
        guard count <= limit else { return nil }
        if elementType == .float64 { return try? elements(as: Double.self) }
        if elementType.isInteger || elementType == .bool {
            return ((try? integers()) ?? nil)?.map { Double($0) }
        }
        return (try? floats())?.map { Double($0) }
    }

    /// A tensor of one repeated number; nil for an element type that holds no real numbers of at least a byte.
    public static func filled(_ value: Double, _ elementType: ElementType, shape: [Int]) -> Tensor? {
        guard let count = Checked.product(shape) else { return nil }
        func whole<Element: TensorElement & FixedWidthInteger>(_: Element.Type) -> Tensor? {
            Element(exactly: value.rounded(.towardZero)).map { Tensor(repeatElement($0, count: count), shape: shape) }
        }
        func bits(_ pattern: UInt16) -> Tensor? {
            let tensor = Tensor(repeatElement(pattern, count: count), shape: shape)
            return try? Tensor(elementType, shape: shape, storage: tensor.storage)
        }
        switch elementType {
        case .float32: return Tensor(repeatElement(Float(value), count: count), shape: shape)
        case .float64: return Tensor(repeatElement(value, count: count), shape: shape)
        case .float16: return bits(Float16(value).bitPattern)
        case .bfloat16:
            let pattern = Float(value).bitPattern
            // Round to nearest even: the upper half, plus what the lower half carries.
            let carry = UInt32(0x7FFF) + (pattern >> 16 & 1)
            return bits(value.isNaN ? 0x7FC0 : UInt16(truncatingIfNeeded: (pattern &+ carry) >> 16))
        case .int8: return whole(Int8.self)
        case .int16: return whole(Int16.self)
        case .int32: return whole(Int32.self)
        case .int64: return whole(Int64.self)
        case .uint8: return whole(UInt8.self)
        case .uint16: return whole(UInt16.self)
        case .uint32: return whole(UInt32.self)
        case .uint64: return whole(UInt64.self)
        case .bool: return Tensor(repeatElement(value != 0, count: count), shape: shape)
        default: return nil
        }
    }
}
