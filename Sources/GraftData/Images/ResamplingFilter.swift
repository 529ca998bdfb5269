#if canImport(Glibc)
import Glibc
#endif

/// How pixels between pixels are computed when a picture is resized; Pillow's filters.
public enum ResamplingFilter: String, Sendable, CaseIterable {
    /// The pixel whose area covers the centre of the target pixel.
    case nearest
    /// The mean over the target pixel's area.
    case box
    /// A triangle.
    case bilinear
    /// A raised cosine: sharper than bilinear, without ringing.
    case hamming
    /// Keys' cubic with a = -0.5.
    case bicubic
    /// A windowed sinc over three pixels.
    case lanczos

    /// How far from its centre the filter is not zero, in source pixels at a scale of one.
    var support: Double {
        switch self {
        case .nearest: 0
        case .box: 0.5
        case .bilinear, .hamming: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    /// The filter's value at a distance from its centre.
    func value(_ position: Double) -> Double {
        let x = abs(position)
        switch self {
        case .nearest: return 0
        case .box: return position > -0.5 && position <= 0.5 ? 1 : 0
        case .bilinear: return x < 1 ? 1 - x : 0
        case .hamming:
            if x == 0 { return 1 }
            if x >= 1 { return 0 }
            let angle = x * Double.pi
            // Pillow's constants are single-precision numbers, which decides how some weights are rounded.
            return sin(angle) / angle * (Double(0.54 as Float) + Double(0.46 as Float) * cos(angle))
        case .bicubic:
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        case .lanczos: return position >= -3 && position < 3 ? Self.sinc(position) * Self.sinc(position / 3) : 0
        }
    }

    private static func sinc(_ x: Double) -> Double {
        if x == 0 { return 1 }
        let angle = x * Double.pi
        return sin(angle) / angle
    }
}
