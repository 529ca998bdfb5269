import GraftCore
import GraftIR

/// Values that may be absent: Optional, OptionalHasElement, OptionalGetElement.
enum OptionalKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function("Optional") { context in
                context.set(0, .optional(context.has(0) ? try context.take(0) : nil))
            },
            .function("OptionalHasElement") { context in
                // A tensor or sequence is there, and an input that is left out is not.
                var isThere = context.has(0)
                if isThere, case .optional(let element) = try context.value(0) { isThere = element != nil }
                try context.output(0, .bool, []).typed(Bool.self).pointee = isThere
            },
            .function("OptionalGetElement") { context in
                guard case .optional(let element) = try context.value(0) else {
                    context.set(0, try context.take(0))
                    return
                }
                guard let element else { throw KernelFailure("the optional value is absent") }
                context.set(0, element)
            },
        ]
    }
}
