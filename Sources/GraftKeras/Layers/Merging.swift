import GraftCore
import GraftIR

/// Add, Subtract, Multiply, Average, Maximum, Minimum and Concatenate.
enum MergingLayers: LayerFamily {
    static let classNames = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Merge"]

    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor] {
        guard layer.className != "Merge" else { throw layer.unsupported("layers of Keras 1") }
        if layer.className == "Concatenate" { return [try concatenate(layer, inputs, &builder)] }
        guard inputs.count >= 2 else {
            throw layer.unsupported("it takes \(inputs.count) inputs, expected two or more")
        }
        var result = inputs[0]
        for (index, next) in inputs.enumerated().dropFirst() {
            let isLast = index == inputs.count - 1
            switch layer.className {
            case "Add": result = try binary("Add", layer, result, next, &builder)
            case "Subtract":
                guard inputs.count == 2 else { throw layer.unsupported("it takes more than two inputs") }
                result = try binary("Sub", layer, result, next, &builder)
            case "Multiply": result = try binary("Mul", layer, result, next, &builder)
            case "Maximum": result = try binary("Max", layer, result, next, &builder)
            case "Minimum": result = try binary("Min", layer, result, next, &builder)
            default:
                result = try binary("Add", layer, result, next, &builder)
                if isLast {
                    let count = builder.constant("count", Tensor(scalar: Float(inputs.count)))
                    result.value = builder.emit("Div", [result.value, count], shape: result.storedShape)
                }
            }
        }
        return [result]
    }

    /// Combines two tensors element by element; extents of 1 are repeated.
    static func binary(
        _ op: String, _ layer: LayerConfig, _ a: ImportedTensor, _ b: ImportedTensor, _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard a.rank == b.rank else {
            throw layer.unsupported("its inputs have different ranks, \(a.rank) and \(b.rank)")
        }
        let (a, b) = alike(a, b, &builder)
        var shape: [Int?] = []
        for (x, y) in zip(a.shape, b.shape) {
            if x == 1 {
                shape.append(y)
            } else if y == 1 || x == y {
                shape.append(x)
            } else if x == nil || y == nil {
                shape.append(x ?? y)
            } else {
                throw layer.malformed("inputs", expected: "shapes that fit, found \(a.shape) and \(b.shape)")
            }
        }
        var result = ImportedTensor(value: a.value, shape: shape, layout: a.layout)
        result.value = builder.emit(op, [a.value, b.value], shape: result.storedShape)
        return result
    }

    /// Two tensors in the same layout; for images the one that needs no Transpose.
    private static func alike(
        _ a: ImportedTensor, _ b: ImportedTensor, _ builder: inout GraphBuilder
    ) -> (ImportedTensor, ImportedTensor) {
        if a.layout == b.layout { return (a, b) }
        if a.rank == 4 { return (builder.channelsFirst(a), builder.channelsFirst(b)) }
        return (builder.plain(a), builder.plain(b))
    }

    private static func concatenate(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        guard let first = inputs.first, inputs.allSatisfy({ $0.rank == first.rank }) else {
            throw layer.unsupported("its inputs have different ranks")
        }
        var parts = inputs
        if Set(inputs.map(\.layout)).count > 1 {
            for index in parts.indices {
                parts[index] = first.rank == 4 ? builder.channelsFirst(parts[index]) : builder.plain(parts[index])
            }
        } else if case .flattened = first.layout {
            parts = parts.map { builder.plain($0) }
        }
        let given = try layer.int("axis", default: -1)
        let axis = given < 0 ? given + first.rank : given
        guard axis > 0, let stored = parts[0].storedAxis(axis) else {
            throw layer.malformed("axis", expected: "an axis of the inputs other than the batch")
        }
        var shape = parts[0].shape
        for part in parts.dropFirst() {
            for index in shape.indices {
                if index == axis {
                    shape[index] = shape[index].flatMap { a in part.shape[index].map { a + $0 } }
                } else if let a = shape[index], let b = part.shape[index], a != b {
                    throw layer.malformed("inputs", expected: "shapes that fit, found \(shape) and \(part.shape)")
                } else {
                    shape[index] = shape[index] ?? part.shape[index]
                }
            }
        }
        var result = ImportedTensor(value: parts[0].value, shape: shape, layout: parts[0].layout)
        result.value = builder.emit(
            "Concat", parts.map(\.value), ["axis": .int(stored)], shape: result.storedShape)
        return result
    }
}
