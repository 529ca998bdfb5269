/// How an update and what it meets combine: a type for each way, so that each has loops of its own.
protocol Combination {
    associatedtype Number: BitwiseCopyable
    static func combine(_ old: Number, _ update: Number) -> Number
}

enum Replacing<T: BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { update }
}

// MARK: Floating-point numbers

enum Adding<T: BinaryFloatingPoint & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { old + update }
}

enum Multiplying<T: BinaryFloatingPoint & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { old * update }
}

enum Raising<T: BinaryFloatingPoint & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { update > old || update.isNaN ? update : old }
}

enum Lowering<T: BinaryFloatingPoint & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { update < old || update.isNaN ? update : old }
}

// MARK: Integers, which wrap

enum WholeAdding<T: FixedWidthInteger & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { old &+ update }
}

enum WholeMultiplying<T: FixedWidthInteger & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { old &* update }
}

enum WholeRaising<T: FixedWidthInteger & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { max(old, update) }
}

enum WholeLowering<T: FixedWidthInteger & BitwiseCopyable>: Combination {
    @inline(__always) static func combine(_ old: T, _ update: T) -> T { min(old, update) }
}
