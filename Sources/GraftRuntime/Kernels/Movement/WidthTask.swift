import GraftCore

/// What is done with elements of which only the width matters.
protocol WidthTask {
    func run<T: BitwiseCopyable>(_ type: T.Type) throws
}

extension WidthTask {
    /// Runs the task with a type as wide as the elements.
    func run(width type: ElementType) throws {
        switch type.byteWidth {
        case 1: try run(UInt8.self)
        case 2: try run(UInt16.self)
        case 4: try run(UInt32.self)
        case 8: try run(UInt64.self)
        case 16: try run(SIMD2<UInt64>.self)
        default: throw KernelFailure("elements of type \(type.name)")
        }
    }
}
