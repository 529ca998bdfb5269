/// Where the bytes of a tensor are.
public enum TensorStorage: Sendable {
    /// A range of a mapped file, in the tensor's own layout (little-endian, row-major, packed).
    case mapped(MappedFile, Range<Int>)
    /// Bytes in memory; the buffer is never written while a tensor refers to it.
    case owned(ByteBuffer)
    /// Bytes that are computed or decoded when asked for.
    case deferred(any DeferredBytes)
    /// The elements of a string tensor, each a sequence of bytes.
    case strings([[UInt8]])
}

/// Bytes that are produced on demand: a compressed data set, a transposed weight.
///
/// Producing them twice gives the same bytes; nothing is kept between calls.
public protocol DeferredBytes: Sendable {
    /// The number of bytes that ``load()`` returns.
    var byteCount: Int { get }
    /// Produces the bytes.
    func load() throws -> ByteBuffer
}

/// What can be wrong with a tensor.
public enum TensorError: GraftError, Equatable {
    /// The shape's element count overflows or a dimension is negative.
    case invalidShape([Int])
    /// The stored bytes do not match the type and shape.
    case byteCountMismatch(type: ElementType, shape: [Int], expected: Int, actual: Int)
    /// The elements were asked for as another type than they have.
    case typeMismatch(expected: ElementType, actual: ElementType)

    public var exitStatus: ExitStatus { .badInput }

    public var description: String {
        switch self {
        case .invalidShape(let shape): "the shape \(shape) is not possible"
        case .byteCountMismatch(let type, let shape, let expected, let actual):
            "a \(type.name) tensor of shape \(shape) takes \(expected) bytes, but \(actual) are stored"
        case .typeMismatch(let expected, let actual):
            "expected elements of type \(expected.name), found \(actual.name)"
        }
    }
}

/// A multi-dimensional array: an element type, a shape and bytes that may still lie in a file.
///
/// A value: copying is cheap and never copies bytes. Elements are little-endian, row-major; elements narrower than a
/// byte are packed as ONNX packs `raw_data`.
public struct Tensor: Sendable {
    /// The type of the elements.
    public let elementType: ElementType
    /// The dimensions; empty for a scalar.
    public let shape: [Int]
    /// Where the bytes are.
    public let storage: TensorStorage

    /// A tensor over existing storage.
    ///
    /// - Throws: ``TensorError`` where the storage does not hold exactly the bytes that type and shape need.
    public init(_ elementType: ElementType, shape: [Int], storage: TensorStorage) throws(TensorError) {
        guard let count = Checked.product(shape) else { throw .invalidShape(shape) }
        let (expected, actual): (Int?, Int) =
            switch storage {
            case .mapped(_, let range): (elementType.byteCount(elements: count), range.count)
            case .owned(let buffer): (elementType.byteCount(elements: count), buffer.count)
            case .deferred(let bytes): (elementType.byteCount(elements: count), bytes.byteCount)
            case .strings(let strings): (count, strings.count)
            }
        guard let expected else { throw .invalidShape(shape) }
        if elementType == .string {
            guard case .strings = storage else {
                throw .byteCountMismatch(type: elementType, shape: shape, expected: count, actual: 0)
            }
        } else if case .strings = storage {
            throw .typeMismatch(expected: elementType, actual: .string)
        }
        guard expected == actual else {
            throw .byteCountMismatch(type: elementType, shape: shape, expected: expected, actual: actual)
        }
        self.elementType = elementType
        self.shape = shape
        self.storage = storage
    }

    /// A tensor that owns a copy of `elements`.
    ///
    /// - Precondition: the shape's element count is the number of elements.
    public init<Element: TensorElement>(_ elements: some Sequence<Element>, shape: [Int]) {
        let array = Array(elements)
        precondition(Checked.product(shape) == array.count, "\(array.count) elements do not fill the shape \(shape)")
        self.elementType = Element.elementType
        self.shape = shape
        storage = .owned(array.withUnsafeBytes { ByteBuffer(copying: $0) })
    }

    /// A one-dimensional tensor that owns a copy of `elements`.
    public init<Element: TensorElement>(_ elements: [Element]) { self.init(elements, shape: [elements.count]) }

    /// A scalar.
    public init<Element: TensorElement>(scalar: Element) { self.init(CollectionOfOne(scalar), shape: []) }

    /// A tensor of zeros.
    ///
    /// - Precondition: the shape is possible and the type is not `string`.
    public static func zeros(_ elementType: ElementType, shape: [Int]) -> Tensor {
        guard let count = Checked.product(shape), let bytes = elementType.byteCount(elements: count),
            elementType != .string
        else { preconditionFailure("no zeros of type \(elementType.name) and shape \(shape)") }
        let buffer = ByteBuffer(count: bytes, zeroed: true)
        return try! Tensor(elementType, shape: shape, storage: .owned(buffer))
    }

    /// The number of elements.
    public var count: Int { Checked.product(shape) ?? 0 }

    /// The number of stored bytes; for strings the sum of their lengths.
    public var byteCount: Int {
        switch storage {
        case .mapped(_, let range): range.count
        case .owned(let buffer): buffer.count
        case .deferred(let bytes): bytes.byteCount
        case .strings(let strings): strings.reduce(0) { $0 + $1.count }
        }
    }

    /// The same bytes under another shape with the same number of elements.
    public func reshaped(_ shape: [Int]) throws(TensorError) -> Tensor {
        try Tensor(elementType, shape: shape, storage: storage)
    }

    /// Calls `body` with the tensor's bytes, without a copy where they are mapped or owned.
    ///
    /// - Throws: what a deferred read throws, or ``TensorError`` for a string tensor.
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        switch storage {
        case .mapped(let file, let range):
            return try withExtendedLifetime(file) { try body(UnsafeRawBufferPointer(rebasing: file.bytes[range])) }
        case .owned(let buffer):
            return try withExtendedLifetime(buffer) { try body(buffer.bytes) }
        case .deferred(let bytes):
            let buffer = try bytes.load()
            return try withExtendedLifetime(buffer) { try body(buffer.bytes) }
        case .strings:
            throw TensorError.typeMismatch(expected: .uint8, actual: .string)
        }
    }

    /// The elements as an array of their own Swift type.
    ///
    /// - Throws: ``TensorError/typeMismatch(expected:actual:)`` where `Element` is another type.
    public func elements<Element: TensorElement>(as type: Element.Type = Element.self) throws -> [Element] {
        guard elementType == Element.elementType else {
            throw TensorError.typeMismatch(expected: Element.elementType, actual: elementType)
        }
        return try withBytes { bytes in
            [Element](unsafeUninitializedCapacity: count) { target, initialized in
                UnsafeMutableRawBufferPointer(target).copyMemory(from: bytes)
                initialized = bytes.count / MemoryLayout<Element>.stride
            }
        }
    }

    /// The elements of a string tensor as text; invalid UTF-8 is repaired.
    public var strings: [String]? {
        guard case .strings(let elements) = storage else { return nil }
        return elements.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The tensor with its bytes in memory; itself where they already are.
    public func materialized() throws -> Tensor {
        switch storage {
        case .owned, .strings: self
        case .mapped, .deferred:
            try Tensor(elementType, shape: shape, storage: .owned(withBytes { ByteBuffer(copying: $0) }))
        }
    }

    /// Whether two tensors have the same type, shape and bytes.
    public func isIdentical(to other: Tensor) throws -> Bool {
        guard elementType == other.elementType, shape == other.shape else { return false }
        if case .strings(let a) = storage, case .strings(let b) = other.storage { return a == b }
        return try withBytes { a in try other.withBytes { b in a.elementsEqual(b) } }
    }
}

/// A Swift type that tensors can hold as it is.
public protocol TensorElement: BitwiseCopyable, Sendable {
    /// The element type that this type stores.
    static var elementType: ElementType { get }
}

extension Float: TensorElement { public static var elementType: ElementType { .float32 } }
extension Double: TensorElement { public static var elementType: ElementType { .float64 } }
extension Int8: TensorElement { public static var elementType: ElementType { .int8 } }
extension Int16: TensorElement { public static var elementType: ElementType { .int16 } }
extension Int32: TensorElement { public static var elementType: ElementType { .int32 } }
extension Int64: TensorElement { public static var elementType: ElementType { .int64 } }
extension UInt8: TensorElement { public static var elementType: ElementType { .uint8 } }
extension UInt16: TensorElement { public static var elementType: ElementType { .uint16 } }
extension UInt32: TensorElement { public static var elementType: ElementType { .uint32 } }
extension UInt64: TensorElement { public static var elementType: ElementType { .uint64 } }
extension Bool: TensorElement { public static var elementType: ElementType { .bool } }
