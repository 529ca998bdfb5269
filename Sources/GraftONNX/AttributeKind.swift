import GraftIR

/// The codes of `AttributeProto.AttributeType`, and the flags that Graft keeps beside an attribute's field numbers.
enum AttributeKind {
    static let undefined: Int32 = 0
    static let float: Int32 = 1
    static let int: Int32 = 2
    static let string: Int32 = 3
    static let tensor: Int32 = 4
    static let graph: Int32 = 5
    static let floats: Int32 = 6
    static let ints: Int32 = 7
    static let strings: Int32 = 8
    static let tensors: Int32 = 9
    static let graphs: Int32 = 10
    static let sparseTensor: Int32 = 11
    static let sparseTensors: Int32 = 12
    static let type: Int32 = 13
    static let types: Int32 = 14

    /// The flag that the file leaves out the kind, which its one value tells.
    ///
    /// A bit of ``Carried/explicitDefaults``; no field has the number.
    static let kindOmittedFlag = 0
    /// The flag that the file leaves out the value, which is the default of its kind.
    ///
    /// A bit of ``Carried/explicitDefaults``; no field has the number.
    static let valueOmittedFlag = 63

    /// The code of a value's kind.
    static func code(of value: AttributeValue) -> Int32 {
        switch value {
        case .float: float
        case .int: int
        case .string: string
        case .tensor: tensor
        case .sparseTensor: sparseTensor
        case .graph: graph
        case .type: type
        case .floats: floats
        case .ints: ints
        case .strings: strings
        case .tensors: tensors
        case .sparseTensors: sparseTensors
        case .graphs: graphs
        case .types: types
        case .reference(_, let kind): kind
        case .empty(let kind): kind
        }
    }
}
