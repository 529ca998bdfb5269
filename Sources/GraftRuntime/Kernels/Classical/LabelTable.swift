import GraftCore
import GraftIR

/// Keys or values of an encoding of categories: a list of one element type.
enum LabelList {
    case texts([[UInt8]])
    case integers([Int64])
    case floats([Float])
    case doubles([Double])
    case shorts([Int16])
    case words([Int32])

    /// The list that the attributes `<prefix>_strings`, `_int64s`, `_floats` or `_tensor` hold.
    init?(_ attributes: Attributes, _ prefix: String) throws {
        if let tensor = attributes.tensor("\(prefix)_tensor") {
            guard let list = try LabelList(tensor) else {
                throw KernelFailure("\(prefix)_tensor holds elements of type \(tensor.elementType.name)")
            }
            self = list
        } else if case .strings(let values)? = attributes["\(prefix)_strings"] {
            self = .texts(values)
        } else if case .ints(let values)? = attributes["\(prefix)_int64s"] {
            self = .integers(values)
        } else if let values = attributes.floats("\(prefix)_floats") {
            self = .floats(values)
        } else {
            return nil
        }
    }

    /// The elements of a tensor; nil for a type that no encoding has.
    init?(_ tensor: Tensor) throws {
        switch tensor.elementType {
        case .string:
            guard case .strings(let elements) = tensor.storage else { return nil }
            self = .texts(elements)
        case .int64: self = .integers(try tensor.elements())
        case .float32: self = .floats(try tensor.elements())
        case .float64: self = .doubles(try tensor.elements())
        case .int16: self = .shorts(try tensor.elements())
        case .int32: self = .words(try tensor.elements())
        default: return nil
        }
    }

    static func bytes(_ attributes: Attributes, _ name: String) -> [[UInt8]] {
        if case .strings(let values)? = attributes[name] { values } else { [] }
    }

    var count: Int {
        switch self {
        case .texts(let list): list.count
        case .integers(let list): list.count
        case .floats(let list): list.count
        case .doubles(let list): list.count
        case .shorts(let list): list.count
        case .words(let list): list.count
        }
    }

    var elementType: ElementType {
        switch self {
        case .texts: .string
        case .integers: .int64
        case .floats: .float32
        case .doubles: .float64
        case .shorts: .int16
        case .words: .int32
        }
    }
}

/// A table from keys to values, with a value for keys that are not there.
struct LabelTable: @unchecked Sendable {
    /// A key, with every NaN the same.
    private enum Key: Hashable {
        case text([UInt8])
        case number(UInt64)

        init(_ value: Double) { self = .number(value.isNaN ? Double.nan.bitPattern : (value + 0).bitPattern) }
        init(_ value: Int64) { self = .number(UInt64(bitPattern: value)) }
    }

    private let places: [Key: Int]
    private let keyType: ElementType
    // The last value is that for keys that are not there.
    private let values: LabelList
    private let missing: Int

    /// A table.
    ///
    /// - Parameter lastWins: which value of a key that is there twice counts.
    init(_ keys: LabelList, _ values: LabelList, otherwise: LabelList, lastWins: Bool = true) throws {
        guard keys.count == values.count else {
            throw KernelFailure("\(keys.count) keys for \(values.count) values")
        }
        let list: [Key] =
            switch keys {
            case .texts(let list): list.map { Key.text($0) }
            case .integers(let list): list.map { Key($0) }
            case .floats(let list): list.map { Key(Double($0)) }
            case .doubles(let list): list.map { Key($0) }
            case .shorts(let list): list.map { Key(Int64($0)) }
            case .words(let list): list.map { Key(Int64($0)) }
            }
        places = Dictionary(zip(list, list.indices), uniquingKeysWith: { lastWins ? $1 : $0 })
        keyType = keys.elementType
        missing = values.count
        switch (values, otherwise) {
        case (.texts(let list), .texts(let last)): self.values = .texts(list + last)
        case (.integers(let list), .integers(let last)): self.values = .integers(list + last)
        case (.floats(let list), .floats(let last)): self.values = .floats(list + last)
        case (.doubles(let list), .doubles(let last)): self.values = .doubles(list + last)
        case (.shorts(let list), .shorts(let last)): self.values = .shorts(list + last)
        case (.words(let list), .words(let last)): self.values = .words(list + last)
        default: throw KernelFailure("the default is of another type than the values")
        }
    }

    /// Sets output 0 to what the elements of input 0 become.
    func encode(_ context: KernelContext) throws {
        let value = try context.value(0)
        guard let shape = value.shape, value.elementType == keyType else {
            throw KernelFailure("the keys are of type \(keyType.name), the input is not")
        }
        let chosen: [Int]
        if case .strings(let texts) = value {
            chosen = texts.elements.map { places[.text($0)] ?? missing }
        } else {
            let x = try context.plain(0)
            chosen = (0..<x.count).map { index in
                let key =
                    switch x.elementType {
                    case .int64: Key(x.int64s[index])
                    case .int32: Key(Int64(x.typed(Int32.self)[index]))
                    case .int16: Key(Int64(x.typed(Int16.self)[index]))
                    case .float32: Key(Double(x.floats[index]))
                    default: Key(x.typed(Double.self)[index])
                    }
                return places[key] ?? missing
            }
        }
        switch values {
        case .texts(let list):
            context.set(0, .strings(StringTensor(shape: shape, elements: chosen.map { list[$0] })))
        case .integers(let list): try write(list, chosen, shape, context)
        case .floats(let list): try write(list, chosen, shape, context)
        case .doubles(let list): try write(list, chosen, shape, context)
        case .shorts(let list): try write(list, chosen, shape, context)
        case .words(let list): try write(list, chosen, shape, context)
        }
    }

    private func write<T: TensorElement>(_ list: [T], _ chosen: [Int], _ shape: [Int], _ context: KernelContext) throws
    {
        let y = try context.output(0, T.elementType, shape).typed(T.self)
        for (index, place) in chosen.enumerated() { y[index] = list[place] }
    }
}
