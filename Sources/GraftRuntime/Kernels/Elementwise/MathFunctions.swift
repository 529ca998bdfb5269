#if canImport(Glibc)
import Glibc
#endif

// Names that overloads in generic code cannot hide.

/// `x` to the power of `y`.
@inline(__always) func power(_ x: Float, _ y: Float) -> Float { powf(x, y) }
/// `x` to the power of `y`.
@inline(__always) func power(_ x: Double, _ y: Double) -> Double { pow(x, y) }
