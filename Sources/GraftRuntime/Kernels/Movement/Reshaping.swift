import GraftCore
import GraftIR

/// Operators that give the same elements another shape, or make tensors from shapes.
enum ReshapingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "Reshape", opsets: 1...4, prepare: { $0.attributes.ints("shape") ?? [] },
                run: { try reshape($1, wanted: $0, allowsZero: false) }),
            .function(
                "Reshape", opsets: 5...KernelRegistry.newestOpset,
                prepare: { $0.attributes.int("allowzero") ?? 0 != 0 },
                run: { try reshape($1, wanted: try $1.integers(1), allowsZero: $0) }),
            .function("ReshapeLike", domain: graftDomain) { context in
                try view(context, try context.input(1).shape)
            },
            .function(
                "Flatten", prepare: { $0.attributes.int("axis") ?? 1 },
                run: { axis, context in
                    let shape = try context.input(0).shape
                    let split = axis < 0 ? axis + shape.count : axis
                    guard split >= 0, split <= shape.count else { throw KernelFailure("the axis \(axis)") }
                    try view(context, [shape[..<split].reduce(1, *), shape[split...].reduce(1, *)])
                }),
            .function(
                "Squeeze", prepare: { $0.attributes.ints("axes") },
                run: { axes, context in
                    let shape = try context.input(0).shape
                    let given = try context.optionalIntegers(1) ?? axes
                    let chosen =
                        try given.map { try normalizedAxes($0, rank: shape.count) }
                        ?? shape.indices.filter { shape[$0] == 1 }
                    for axis in chosen where shape[axis] != 1 {
                        throw KernelFailure("axis \(axis) has the length \(shape[axis]), not 1")
                    }
                    try view(context, shape.indices.filter { !chosen.contains($0) }.map { shape[$0] })
                }),
            .function(
                "Unsqueeze", prepare: { $0.attributes.ints("axes") },
                run: { axes, context in
                    let shape = try context.input(0).shape
                    guard let given = try context.optionalIntegers(1) ?? axes else {
                        throw KernelFailure("axes are missing")
                    }
                    let chosen = Set(try normalizedAxes(given, rank: shape.count + given.count))
                    var rest = shape[...]
                    try view(
                        context,
                        (0..<(shape.count + given.count)).map { chosen.contains($0) ? 1 : rest.removeFirst() })
                }),
            .function("Identity") { $0.set(0, try $0.value(0)) },
            .function(
                "Shape", prepare: { ($0.attributes.int("start") ?? 0, $0.attributes.int("end")) },
                run: { bounds, context in
                    guard let shape = try context.value(0).shape else { throw KernelFailure("not a tensor") }
                    func clamped(_ value: Int) -> Int {
                        max(0, min(shape.count, value < 0 ? value + shape.count : value))
                    }
                    let (start, end) = (clamped(bounds.0), bounds.1.map { clamped($0) } ?? shape.count)
                    try integers(context, end > start ? Array(shape[start..<end]) : [])
                }),
            .function("Size") { context in
                guard let shape = try context.value(0).shape else { throw KernelFailure("not a tensor") }
                let result = try context.output(0, .int64, [])
                result.int64s.pointee = Int64(shape.reduce(1, *))
            },
            .function("Constant", prepare: { try constant($0) }, run: { $1.set(0, try RuntimeValue($0)) }),
            .function(
                "ConstantOfShape",
                prepare: { $0.attributes.tensor("value") ?? Tensor([Float(0)]) },
                run: { value, context in
                    let shape = try context.integers(0)
                    guard value.count == 1, value.elementType != .string else {
                        throw KernelFailure("value must be one number")
                    }
                    let result = try context.output(0, value.elementType, shape)
                    let width = value.elementType.byteWidth
                    guard width > 0 else { throw KernelFailure("elements of type \(value.elementType.name)") }
                    try value.withBytes { bytes in
                        guard let start = bytes.baseAddress else { return }
                        try copyStrided(
                            width: width, shape: [result.count], from: start, StridedView(strides: [0]),
                            to: result.pointer, StridedView(strides: [1]))
                    }
                }),
            .function("StopGradient", domain: graftDomain) { $0.set(0, try $0.value(0)) },
        ]
    }

    /// Sets output 0 to the elements of input 0 under another shape, without a copy.
    static func view(_ context: KernelContext, _ shape: [Int]) throws {
        if case .strings(let strings) = try context.value(0) {
            guard Checked.product(shape) == strings.elements.count else {
                throw KernelFailure("\(strings.elements.count) elements do not fill the shape \(shape)")
            }
            context.set(0, .strings(StringTensor(shape: shape, elements: strings.elements)))
            return
        }
        let x = try context.plain(0)
        guard Checked.product(shape) == x.count, Checked.isPossible(shape) else {
            throw KernelFailure("the shape \(x.shape) cannot become \(shape)")
        }
        context.set(0, x.viewed(shape))
    }

    static func reshape(_ context: KernelContext, wanted: [Int], allowsZero: Bool) throws {
        guard let old = try context.value(0).shape else { throw KernelFailure("not a tensor") }
        var shape = wanted
        var free: Int?
        for axis in shape.indices {
            if shape[axis] == 0, !allowsZero {
                guard axis < old.count else {
                    throw KernelFailure("the shape \(wanted) copies an axis that is not there")
                }
                shape[axis] = old[axis]
            } else if shape[axis] == -1 {
                guard free == nil else { throw KernelFailure("the shape \(wanted) has two axes of -1") }
                free = axis
            } else if shape[axis] < 0 {
                throw KernelFailure("the shape \(wanted) has a negative axis")
            }
        }
        if let free {
            shape[free] = 1
            let count = old.reduce(1, *)
            guard let known = Checked.product(shape), known > 0, count % known == 0 else {
                throw KernelFailure("the shape \(old) cannot become \(wanted)")
            }
            shape[free] = count / known
        }
        try view(context, shape)
    }

    static func integers(_ context: KernelContext, _ values: [Int]) throws {
        let result = try context.output(0, .int64, [values.count])
        for index in values.indices { result.int64s[index] = Int64(values[index]) }
    }

    private static func constant(_ node: KernelNode) throws -> Tensor {
        for attribute in node.attributes.all {
            switch (attribute.name, attribute.value) {
            case ("value", .tensor(let stored)): return stored.tensor
            case ("sparse_value", .sparseTensor(let stored)): return try stored.dense()
            case ("value_float", .float(let value)): return Tensor(scalar: value)
            case ("value_floats", .floats(let values)): return Tensor(values)
            case ("value_int", .int(let value)): return Tensor(scalar: value)
            case ("value_ints", .ints(let values)): return Tensor(values)
            case ("value_string", .string(let value)):
                return try Tensor(.string, shape: [], storage: .strings([value]))
            case ("value_strings", .strings(let values)):
                return try Tensor(.string, shape: [values.count], storage: .strings(values))
            default: continue
            }
        }
        throw KernelFailure("a constant without a dense value")
    }
}
