import GraftCore

/// A tensor as a file holds it: the data, and how and with what remarks it is stored.
public struct StoredTensor: Sendable {
    /// How a file holds a tensor's elements.
    public enum Encoding: Sendable, Hashable {
        /// As one block of bytes.
        case raw
        /// In a typed list, one entry an element or a pack of elements.
        case typed
        /// In another file; the entries are what the model file says about it.
        case external(Metadata)
    }

    /// The data.
    public var tensor: Tensor
    /// The tensor's own name where it is a literal; an initializer has the name of its value.
    public var name: String
    /// The remark.
    public var docString: String
    /// Named texts.
    public var metadata: Metadata
    /// How the file holds the elements.
    public var encoding: Encoding
    /// What the file said beyond this.
    public var carried: Carried

    /// A tensor with its remarks.
    public init(
        _ tensor: Tensor, name: String = "", docString: String = "", metadata: Metadata = Metadata(),
        encoding: Encoding = .raw, carried: Carried = .nothing
    ) {
        self.tensor = tensor
        self.name = name
        self.docString = docString
        self.metadata = metadata
        self.encoding = encoding
        self.carried = carried
    }
}

/// A sparse tensor in coordinate form, as ONNX stores it.
public struct StoredSparseTensor: Sendable {
    // The two tensors lie outside, because values and attributes, which are many, hold a sparse tensor rarely.
    private var parts: [StoredTensor]

    /// The elements that are not the default, in one dimension.
    public var values: StoredTensor {
        get { parts[0] }
        set { parts[0] = newValue }
    }
    /// The positions: linearised in one dimension, or one row an element.
    public var indices: StoredTensor {
        get { parts[1] }
        set { parts[1] = newValue }
    }
    /// The dimensions of the dense form.
    public var shape: [Int]
    /// What the file said beyond this.
    public var carried: Carried

    /// A sparse tensor.
    public init(values: StoredTensor, indices: StoredTensor, shape: [Int], carried: Carried = .nothing) {
        parts = [values, indices]
        self.shape = shape
        self.carried = carried
    }
}

extension Tensor: Equatable {
    /// Whether two tensors have the same type and shape and the same stored bytes.
    ///
    /// The same place in memory or in one mapped file is equal without being read; tensors whose bytes cannot be read
    /// are equal to nothing but themselves.
    public static func == (a: Tensor, b: Tensor) -> Bool {
        guard a.elementType == b.elementType, a.shape == b.shape else { return false }
        switch (a.storage, b.storage) {
        case (.owned(let x), .owned(let y)) where x === y: return true
        case (.mapped(let f, let x), .mapped(let g, let y)) where f === g && x == y: return true
        case (.deferred(let x as AnyObject), .deferred(let y as AnyObject)) where x === y: return true
        default: return (try? a.isIdentical(to: b)) ?? false
        }
    }
}

extension StoredTensor: Equatable {}
extension StoredSparseTensor: Equatable {}
