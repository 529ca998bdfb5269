import GraftCore

/// The value of an attribute of a node.
public enum AttributeValue: Sendable, Equatable {
    case float(Float)
    case int(Int64)
    /// Bytes; usually UTF-8 text.
    case string([UInt8])
    case tensor(StoredTensor)
    case sparseTensor(StoredSparseTensor)
    case graph(Graph)
    case type(ValueType)
    case floats([Float])
    case ints([Int64])
    case strings([[UInt8]])
    case tensors([StoredTensor])
    case sparseTensors([StoredSparseTensor])
    case graphs([Graph])
    case types([ValueType])
    /// In the body of a function: the value of the function's own attribute of that name; the code is the kind that the
    /// file declares.
    case reference(String, kind: Int32)
    /// The file declares a kind, by its code, and no value.
    case empty(kind: Int32)

    /// A text.
    public static func string(_ text: String) -> AttributeValue { .string(Array(text.utf8)) }
    /// A tensor without remarks.
    public static func tensor(_ tensor: Tensor) -> AttributeValue { .tensor(StoredTensor(tensor)) }
    /// A list of integers.
    public static func ints(_ values: [Int]) -> AttributeValue { .ints(values.map { Int64($0) }) }
    /// An integer.
    public static func int(_ value: Int) -> AttributeValue { .int(Int64(value)) }
}

/// A named setting of a node.
public struct Attribute: Sendable, Equatable {
    /// The name.
    public var name: String
    /// The value.
    public var value: AttributeValue
    /// The remark.
    public var docString: String
    /// What the file said beyond this.
    public var carried: Carried

    /// A named setting.
    public init(_ name: String, _ value: AttributeValue, docString: String = "", carried: Carried = .nothing) {
        self.name = name
        self.value = value
        self.docString = docString
        self.carried = carried
    }
}

/// The settings of a node, in file order.
public struct Attributes: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    /// All settings.
    public var all: [Attribute]

    /// Settings in an order.
    public init(_ all: [Attribute] = []) { self.all = all }

    public init(dictionaryLiteral elements: (String, AttributeValue)...) {
        all = elements.map { Attribute($0, $1) }
    }

    /// The value of the first setting of that name; setting replaces it in place, appends, or removes with nil.
    public subscript(name: String) -> AttributeValue? {
        get { all.first { $0.name == name }?.value }
        set {
            guard let newValue else {
                all.removeAll { $0.name == name }
                return
            }
            if let index = all.firstIndex(where: { $0.name == name }) {
                all[index].value = newValue
            } else {
                all.append(Attribute(name, newValue))
            }
        }
    }

    /// The integer of that name, where there is one.
    public func int(_ name: String) -> Int? {
        if case .int(let value)? = self[name] { Int(value) } else { nil }
    }
    /// The number of that name, where there is one.
    public func float(_ name: String) -> Float? {
        if case .float(let value)? = self[name] { value } else { nil }
    }
    /// The text of that name, where there is one.
    public func string(_ name: String) -> String? {
        if case .string(let value)? = self[name] { String(decoding: value, as: UTF8.self) } else { nil }
    }
    /// The integers of that name, where there are some.
    public func ints(_ name: String) -> [Int]? {
        if case .ints(let values)? = self[name] { values.map { Int($0) } } else { nil }
    }
    /// The numbers of that name, where there are some.
    public func floats(_ name: String) -> [Float]? {
        if case .floats(let values)? = self[name] { values } else { nil }
    }
    /// The texts of that name, where there are some.
    public func strings(_ name: String) -> [String]? {
        if case .strings(let values)? = self[name] { values.map { String(decoding: $0, as: UTF8.self) } } else { nil }
    }
    /// The tensor of that name, where there is one.
    public func tensor(_ name: String) -> Tensor? {
        if case .tensor(let stored)? = self[name] { stored.tensor } else { nil }
    }
    /// The graph of that name, where there is one.
    public func graph(_ name: String) -> Graph? {
        if case .graph(let graph)? = self[name] { graph } else { nil }
    }
}
