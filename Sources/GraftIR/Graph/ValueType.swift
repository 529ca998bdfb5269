import GraftCore

/// The type of a value: what kind of thing it is, and for tensors the element type and shape as far as known.
public struct ValueType: Sendable, Hashable {
    /// The kinds of values that ONNX has.
    public indirect enum Kind: Sendable, Hashable {
        /// A dense tensor; nil for an element type or shape that is not known.
        case tensor(ElementType?, SymbolicShape?)
        /// A sparse tensor.
        case sparseTensor(ElementType?, SymbolicShape?)
        /// A sequence of values of one type.
        case sequence(ValueType?)
        /// A map from keys of an element type to values of one type.
        case map(ElementType?, ValueType?)
        /// A value that may be absent.
        case optional(ValueType?)
        /// A type that only its domain knows.
        case opaque(domain: String, name: String)
        /// The file names no kind.
        case unspecified
    }

    /// What kind of thing the value is.
    public var kind: Kind
    /// What the value means, such as `IMAGE`; empty for nothing said.
    public var denotation: String
    /// What the file said about the type beyond this.
    public var carried: Carried
    /// What the file said about the kind's own record beyond this.
    public var kindCarried: Carried

    /// A type of some kind.
    public init(_ kind: Kind, denotation: String = "", carried: Carried = .nothing, kindCarried: Carried = .nothing) {
        self.kind = kind
        self.denotation = denotation
        self.carried = carried
        self.kindCarried = kindCarried
    }

    /// A tensor type.
    public static func tensor(_ elementType: ElementType?, _ shape: SymbolicShape? = nil) -> ValueType {
        ValueType(.tensor(elementType, shape))
    }

    /// The type of a given tensor.
    public init(of tensor: Tensor) { self = .tensor(tensor.elementType, SymbolicShape(tensor.shape)) }

    /// The element type of a dense or sparse tensor, where known.
    public var elementType: ElementType? {
        switch kind {
        case .tensor(let type, _), .sparseTensor(let type, _): type
        default: nil
        }
    }

    /// The shape of a dense or sparse tensor, where known.
    public var shape: SymbolicShape? {
        get {
            switch kind {
            case .tensor(_, let shape), .sparseTensor(_, let shape): shape
            default: nil
            }
        }
        set {
            switch kind {
            case .tensor(let type, _): kind = .tensor(type, newValue)
            case .sparseTensor(let type, _): kind = .sparseTensor(type, newValue)
            default: break
            }
        }
    }
}

/// The extent of one axis.
public enum Extent: Sendable, Hashable {
    /// A number; a file may hold a negative one, which says nothing.
    case fixed(Int)
    /// A name or an expression over names, the same for the same extent.
    case symbol(String)
    /// Nothing is known.
    case unknown
}

/// One axis of a shape: its extent and what it means.
public struct Dimension: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
    /// How long the axis is.
    public var extent: Extent
    /// What the axis means, such as `DATA_BATCH`; empty for nothing said.
    public var denotation: String
    /// What the file said beyond this.
    public var carried: Carried

    /// An axis.
    public init(_ extent: Extent, denotation: String = "", carried: Carried = .nothing) {
        self.extent = extent
        self.denotation = denotation
        self.carried = carried
    }

    public init(integerLiteral value: Int) { self.init(.fixed(value)) }
    public init(stringLiteral value: String) { self.init(.symbol(value)) }

    /// The number, where the extent is known and not negative.
    public var count: Int? {
        if case .fixed(let value) = extent, value >= 0 { value } else { nil }
    }
}

/// A shape of known rank whose extents may be numbers, names or unknown.
public struct SymbolicShape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    /// The axes, outermost first.
    public var dimensions: [Dimension]

    /// A shape with the given axes.
    public init(_ dimensions: [Dimension]) { self.dimensions = dimensions }
    /// A shape of numbers.
    public init(_ counts: [Int]) { dimensions = counts.map { Dimension(.fixed($0)) } }
    /// A shape with the given extents.
    public init(extents: [Extent]) { dimensions = extents.map { Dimension($0) } }
    public init(arrayLiteral elements: Dimension...) { dimensions = elements }

    /// The number of axes.
    public var rank: Int { dimensions.count }
    /// The extents, outermost first.
    public var extents: [Extent] { dimensions.map(\.extent) }
    /// The shape as numbers, where all are known.
    public var counts: [Int]? {
        let counts = dimensions.compactMap(\.count)
        return counts.count == dimensions.count ? counts : nil
    }
    /// The axis at an index.
    public subscript(index: Int) -> Dimension {
        get { dimensions[index] }
        set { dimensions[index] = newValue }
    }

    /// The shape as `[N, 3, ?, 224]`.
    public var description: String {
        let parts = dimensions.map { dimension in
            switch dimension.extent {
            case .fixed(let count) where count >= 0: String(count)
            case .symbol(let name) where !name.isEmpty: name
            default: "?"
            }
        }
        return "[\(parts.joined(separator: ", "))]"
    }
}
