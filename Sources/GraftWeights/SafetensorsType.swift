import GraftCore

/// The element types of safetensors, in the order of the format's library: the narrow ones first.
enum SafetensorsType {
    // F6_E2M3, F6_E3M2 and F8 variants that the format adds later are left out: how they are packed is not specified.
    private static let types: [(name: String, type: ElementType)] = [
        ("BOOL", .bool), ("F4", .float4e2m1), ("U8", .uint8), ("I8", .int8), ("F8_E5M2", .float8e5m2),
        ("F8_E4M3", .float8e4m3fn), ("F8_E8M0", .float8e8m0), ("I16", .int16), ("U16", .uint16), ("F16", .float16),
        ("BF16", .bfloat16), ("I32", .int32), ("U32", .uint32), ("F32", .float32), ("C64", .complex64),
        ("F64", .float64), ("I64", .int64), ("U64", .uint64),
    ]

    static func elementType(_ name: String) -> ElementType? { types.first { $0.name == name }?.type }

    static func name(_ type: ElementType) -> (name: String, rank: Int)? {
        types.firstIndex { $0.type == type }.map { (types[$0].name, $0) }
    }
}

/// Finds names that an object repeats, which parsing into a dictionary would hide.
enum JSONKeys {
    /// A name that occurs twice in one object of a valid JSON text, or nil.
    static func repeated(_ text: UnsafeRawBufferPointer) -> String? {
        // For each open bracket: the names seen, or nil in an array.
        var open: [Set<String>?] = []
        var expectsName = false
        var position = 0
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "{"):
                open.append([])
                expectsName = true
            case UInt8(ascii: "["):
                open.append(nil)
                expectsName = false
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                _ = open.popLast()
                expectsName = false
            case UInt8(ascii: ","): expectsName = open.last.map { $0 != nil } ?? false
            case UInt8(ascii: "\""):
                let start = position
                position += 1
                while position < text.count, text[position] != UInt8(ascii: "\"") {
                    position += text[position] == UInt8(ascii: "\\") ? 2 : 1
                }
                guard position < text.count else { return nil }
                if expectsName, let last = open.indices.last {
                    let name = (try? JSON(parsing: text[start...position]))?.string ?? ""
                    if open[last]?.insert(name).inserted == false { return name }
                    expectsName = false
                }
            default: break
            }
            position += 1
        }
        return nil
    }
}
