import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// A complex number as two neighbours in memory.
struct Complex<T: BinaryFloatingPoint & BitwiseCopyable>: BitwiseCopyable {
    var real: T
    var imaginary: T

    @inline(__always) init(_ real: T, _ imaginary: T) {
        self.real = real
        self.imaginary = imaginary
    }

    /// The root of unity at a fraction of the circle, clockwise.
    static func root(_ numerator: Int, of denominator: Int) -> Complex {
        let angle = -2 * Double.pi * (Double(numerator) / Double(denominator))
        return Complex(T(cos(angle)), T(sin(angle)))
    }

    @inline(__always) static func + (a: Complex<T>, b: Complex<T>) -> Complex<T> {
        Complex(a.real + b.real, a.imaginary + b.imaginary)
    }
    @inline(__always) static func - (a: Complex<T>, b: Complex<T>) -> Complex<T> {
        Complex(a.real - b.real, a.imaginary - b.imaginary)
    }
    @inline(__always) static func * (a: Complex<T>, b: Complex<T>) -> Complex<T> {
        Complex(
            a.real * b.real - a.imaginary * b.imaginary, a.real * b.imaginary + a.imaginary * b.real)
    }
    /// The number times -i.
    @inline(__always) var turned: Complex<T> { Complex(imaginary, -real) }
    /// Real and imaginary part in each other's place: turns a transform into its inverse when done before and after.
    @inline(__always) var swapped: Complex<T> { Complex(imaginary, real) }
}

/// The discrete Fourier transform of one length.
///
/// Lengths whose prime factors are small go through Stockham's mixed-radix algorithm, which needs no reordering; others
/// become a convolution of twice the length (Bluestein's algorithm). Source of both: C. Van Loan, "Computational
/// Frameworks for the Fast Fourier Transform" (1992), sections 1.7, 2.3 and 4.2.
final class FourierPlan<T: BinaryFloatingPoint & BitwiseCopyable> {
    /// The length.
    let length: Int
    /// The complex numbers of work memory that a transform needs.
    let workLength: Int
    private let factors: [Int]
    private let roots: [Complex<T>]
    private let chirp: Chirp?

    private struct Chirp {
        let plan: FourierPlan
        let factors: [Complex<T>]
        let spectrum: [Complex<T>]
    }

    private static var largestFactor: Int { 23 }

    /// - Parameter length: at least 1.
    init(_ length: Int) {
        self.length = length
        var factors: [Int] = []
        var rest = length
        while rest % 4 == 0 {
            factors.append(4)
            rest /= 4
        }
        var candidate = 2
        while candidate <= Self.largestFactor {
            while rest % candidate == 0 {
                factors.append(candidate)
                rest /= candidate
            }
            candidate += 1
        }
        if rest == 1 {
            self.factors = factors
            roots = (0..<length).map { Complex.root($0, of: length) }
            chirp = nil
            workLength = length
            return
        }
        self.factors = []
        roots = []
        var size = 1
        while size < 2 * length - 1 { size *= 2 }
        let plan = FourierPlan(size)
        // The angle grows with the square of the index; whole turns are taken away exactly.
        var square = 0
        var own: [Complex<T>] = []
        own.reserveCapacity(length)
        for index in 0..<length {
            own.append(Complex.root(square, of: 2 * length))
            square = (square + 2 * index + 1) % (2 * length)
        }
        var kernel = [Complex<T>](repeating: Complex(0, 0), count: size)
        for (index, value) in own.enumerated() {
            let conjugate = Complex(value.real, -value.imaginary)
            kernel[index] = conjugate
            if index > 0 { kernel[size - index] = conjugate }
        }
        var work = kernel
        kernel.withUnsafeMutableBufferPointer { kernel in
            work.withUnsafeMutableBufferPointer { work in
                guard let line = kernel.baseAddress, let spare = work.baseAddress else { return }
                plan.transform(line, spare)
            }
        }
        chirp = Chirp(plan: plan, factors: own, spectrum: kernel)
        workLength = 2 * size
    }

    /// Transforms `length` numbers in place.
    ///
    /// - Parameter work: memory for `workLength` numbers.
    func transform(_ line: UnsafeMutablePointer<Complex<T>>, _ work: UnsafeMutablePointer<Complex<T>>) {
        if let chirp { convolve(line, work, chirp) } else { mix(line, work) }
    }

    /// Takes rounding errors away from the spectrum of real numbers where it is real: at the lowest frequency and, for
    /// even lengths, at the highest.
    func clearSelfConjugate(_ line: UnsafeMutablePointer<Complex<T>>) {
        line[0].imaginary = 0
        if length % 2 == 0 { line[length / 2].imaginary = 0 }
    }

    private func convolve(
        _ line: UnsafeMutablePointer<Complex<T>>, _ work: UnsafeMutablePointer<Complex<T>>, _ chirp: Chirp
    ) {
        let size = chirp.plan.length
        let spare = work + size
        chirp.factors.withUnsafeBufferPointer { factors in
            chirp.spectrum.withUnsafeBufferPointer { spectrum in
                for index in 0..<length { work[index] = line[index] * factors[index] }
                (work + length).update(repeating: Complex(0, 0), count: size - length)
                chirp.plan.transform(work, spare)
                for index in 0..<size { work[index] = (work[index] * spectrum[index]).swapped }
                chirp.plan.transform(work, spare)
                let scale = 1 / T(size)
                for index in 0..<length {
                    let value = work[index].swapped * factors[index]
                    line[index] = Complex(value.real * scale, value.imaginary * scale)
                }
            }
        }
    }

    private func mix(_ line: UnsafeMutablePointer<Complex<T>>, _ work: UnsafeMutablePointer<Complex<T>>) {
        var (source, target) = (line, work)
        var (remaining, step) = (length, 1)
        roots.withUnsafeBufferPointer { roots in
            guard let roots = roots.baseAddress else { return }
            for factor in factors {
                remaining /= factor
                switch factor {
                case 2: pass2(source, target, remaining, step, roots)
                case 3: pass3(source, target, remaining, step, roots)
                case 4: pass4(source, target, remaining, step, roots)
                default: pass(source, target, remaining, step, factor, roots)
                }
                step *= factor
                swap(&source, &target)
            }
        }
        if source != line { line.update(from: source, count: length) }
    }

    // Each pass takes transforms of `count * radix` points, `step` of them interleaved, apart into transforms of
    // `count` points.

    private func pass2(
        _ source: UnsafeMutablePointer<Complex<T>>, _ target: UnsafeMutablePointer<Complex<T>>, _ count: Int,
        _ step: Int, _ roots: UnsafePointer<Complex<T>>
    ) {
        for point in 0..<count {
            let w = roots[point * step]
            let (from, to) = (source + point * step, target + 2 * point * step)
            for index in 0..<step {
                let (a, b) = (from[index], from[index + count * step])
                to[index] = a + b
                to[index + step] = (a - b) * w
            }
        }
    }

    private func pass3(
        _ source: UnsafeMutablePointer<Complex<T>>, _ target: UnsafeMutablePointer<Complex<T>>, _ count: Int,
        _ step: Int, _ roots: UnsafePointer<Complex<T>>
    ) {
        let far = count * step
        let half = T(0.75.squareRoot())
        for point in 0..<count {
            let (w1, w2) = (roots[point * step], roots[2 * point * step])
            let (from, to) = (source + point * step, target + 3 * point * step)
            for index in 0..<step {
                let (a, b, c) = (from[index], from[index + far], from[index + 2 * far])
                let (sum, difference) = (b + c, (b - c).turned)
                let middle = Complex(a.real - sum.real / 2, a.imaginary - sum.imaginary / 2)
                let side = Complex(difference.real * half, difference.imaginary * half)
                to[index] = a + sum
                to[index + step] = (middle + side) * w1
                to[index + 2 * step] = (middle - side) * w2
            }
        }
    }

    private func pass4(
        _ source: UnsafeMutablePointer<Complex<T>>, _ target: UnsafeMutablePointer<Complex<T>>, _ count: Int,
        _ step: Int, _ roots: UnsafePointer<Complex<T>>
    ) {
        let far = count * step
        for point in 0..<count {
            let (w1, w2, w3) = (roots[point * step], roots[2 * point * step], roots[3 * point * step])
            let (from, to) = (source + point * step, target + 4 * point * step)
            for index in 0..<step {
                let (a, b) = (from[index], from[index + far])
                let (c, d) = (from[index + 2 * far], from[index + 3 * far])
                let (even, odd) = (a + c, b + d)
                let (evenRest, oddRest) = (a - c, (b - d).turned)
                to[index] = even + odd
                to[index + step] = (evenRest + oddRest) * w1
                to[index + 2 * step] = (even - odd) * w2
                to[index + 3 * step] = (evenRest - oddRest) * w3
            }
        }
    }

    private func pass(
        _ source: UnsafeMutablePointer<Complex<T>>, _ target: UnsafeMutablePointer<Complex<T>>, _ count: Int,
        _ step: Int, _ radix: Int, _ roots: UnsafePointer<Complex<T>>
    ) {
        let far = count * step
        let turn = length / radix
        for point in 0..<count {
            let (from, to) = (source + point * step, target + radix * point * step)
            for output in 0..<radix {
                let w = roots[point * output * step]
                for index in 0..<step {
                    var sum = from[index]
                    for input in 1..<radix {
                        sum = sum + from[index + input * far] * roots[input * output % radix * turn]
                    }
                    to[index + output * step] = sum * w
                }
            }
        }
    }
}
