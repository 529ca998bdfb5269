#if canImport(Glibc)
import Glibc
#endif

extension CounterRandom {
    /// A normally distributed number with mean 0 and standard deviation 1 (Box and Muller).
    public mutating func gaussian() -> Float {
        let radius = (-2 * log(1 - uniformDouble())).squareRoot()
        return Float(radius * cos(2 * Double.pi * uniformDouble()))
    }
}
