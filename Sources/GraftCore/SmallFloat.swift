/// A floating-point format of at most 8 bits: a sign, an exponent and a mantissa.
///
/// Source of the formats: the pages "Float stored in 8 bits", "4 bit" and "6 bit" of ONNX's documentation and the OCP
/// specification of microscaling formats, version 1.0.
public struct SmallFloat: Sendable {
    /// The number of bits of the exponent.
    public let exponentBits: Int
    /// The number of bits of the mantissa.
    public let mantissaBits: Int
    /// What is subtracted from a stored exponent.
    public let bias: Int
    /// The code of the largest finite number.
    public let largest: UInt8
    /// What the format does with codes beyond the largest finite number.
    public let specials: Specials

    /// The numbers that are not finite.
    public enum Specials: Sendable {
        /// There are none.
        case none
        /// The largest code of either sign is a NaN.
        case topIsNaN
        /// Infinities, and NaNs above them, as in wider formats.
        case infinities
        /// The code of the negative zero is the only NaN.
        case negativeZeroIsNaN
    }

    /// 4 exponent bits, 3 mantissa bits, finite numbers and NaN.
    public static let e4m3fn = SmallFloat(
        exponentBits: 4, mantissaBits: 3, bias: 7, largest: 0x7E, specials: .topIsNaN)
    /// 4 exponent bits, 3 mantissa bits, one zero.
    public static let e4m3fnuz = SmallFloat(
        exponentBits: 4, mantissaBits: 3, bias: 8, largest: 0x7F, specials: .negativeZeroIsNaN)
    /// 5 exponent bits, 2 mantissa bits, with infinities.
    public static let e5m2 = SmallFloat(
        exponentBits: 5, mantissaBits: 2, bias: 15, largest: 0x7B, specials: .infinities)
    /// 5 exponent bits, 2 mantissa bits, one zero.
    public static let e5m2fnuz = SmallFloat(
        exponentBits: 5, mantissaBits: 2, bias: 16, largest: 0x7F, specials: .negativeZeroIsNaN)
    /// 2 exponent bits, 1 mantissa bit.
    public static let e2m1 = SmallFloat(exponentBits: 2, mantissaBits: 1, bias: 1, largest: 0x07, specials: .none)
    /// 2 exponent bits, 3 mantissa bits.
    public static let e2m3 = SmallFloat(exponentBits: 2, mantissaBits: 3, bias: 1, largest: 0x1F, specials: .none)
    /// 3 exponent bits, 2 mantissa bits.
    public static let e3m2 = SmallFloat(exponentBits: 3, mantissaBits: 2, bias: 3, largest: 0x1F, specials: .none)

    /// The format of an element type; nil for types that are none of these.
    public init?(_ type: ElementType) {
        switch type {
        case .float8e4m3fn: self = .e4m3fn
        case .float8e4m3fnuz: self = .e4m3fnuz
        case .float8e5m2: self = .e5m2
        case .float8e5m2fnuz: self = .e5m2fnuz
        case .float4e2m1: self = .e2m1
        case .float6e2m3: self = .e2m3
        case .float6e3m2: self = .e3m2
        default: return nil
        }
    }

    private init(exponentBits: Int, mantissaBits: Int, bias: Int, largest: UInt8, specials: Specials) {
        self.exponentBits = exponentBits
        self.mantissaBits = mantissaBits
        self.bias = bias
        self.largest = largest
        self.specials = specials
    }

    /// The bit of the sign.
    public var signBit: UInt8 { 1 << UInt8(exponentBits + mantissaBits) }

    /// The number that a code stands for; bits above the format's are ignored.
    public func decode(_ code: UInt8) -> Float {
        let magnitude = code & (signBit - 1)
        let isNegative = code & signBit != 0
        switch specials {
        case .none: break
        case .topIsNaN: if magnitude > largest { return Self.nan(isNegative) }
        case .infinities:
            if magnitude > largest + 1 { return Self.nan(isNegative) }
            if magnitude > largest { return isNegative ? -.infinity : .infinity }
        case .negativeZeroIsNaN: if isNegative, magnitude == 0 { return .nan }
        }
        let stored = Int(magnitude) >> mantissaBits
        let fraction = Int(magnitude) & (1 << mantissaBits - 1)
        let significand = stored == 0 ? fraction : fraction + 1 << mantissaBits
        let value =
            Float(significand) * Float(sign: .plus, exponent: max(stored, 1) - bias - mantissaBits, significand: 1)
        return isNegative ? -value : value
    }

    /// The code of a number, rounded to nearest even.
    ///
    /// - Parameter saturates: whether numbers beyond the range become the largest; otherwise they become infinite, NaN
    ///   where there is no infinity, and the largest where there is neither. A NaN becomes a zero of the other sign
    ///   where the format has none, as ml_dtypes does.
    public func encode(_ value: Double, saturates: Bool) -> UInt8 {
        let bits = value.bitPattern
        let sign: UInt8 = bits >> 63 == 0 ? 0 : signBit
        let exponentField = Int(bits >> 52 & 0x7FF)
        let fraction = bits & (1 << 52 - 1)
        if exponentField == 0x7FF, fraction != 0 { return nan(sign) }
        // A significand in steps of the format: round(significand / 2^shift) where the exponent is at least the least.
        let exponent = exponentField - 1023
        let least = 1 - bias
        let raised = max(exponent, least)
        let shift = 52 - mantissaBits + (raised - exponent)
        var code = 0
        if shift < 64, exponentField > 0 {
            let significand = fraction | 1 << 52
            let kept = significand >> UInt64(shift)
            let rest = significand & (1 << UInt64(shift) - 1)
            let half: UInt64 = 1 << UInt64(shift - 1)
            let isUp = rest > half || (rest == half && kept & 1 == 1)
            code = Int(kept) + (isUp ? 1 : 0) + (raised - least) << mantissaBits
        }
        if code > Int(largest) { return beyond(sign, saturates: saturates) }
        if code == 0, case .negativeZeroIsNaN = specials { return 0 }
        return sign | UInt8(code)
    }

    private func nan(_ sign: UInt8) -> UInt8 {
        switch specials {
        case .none: sign ^ signBit
        case .topIsNaN: sign | (largest + 1)
        case .infinities: sign | (largest + 3)
        case .negativeZeroIsNaN: signBit
        }
    }

    private func beyond(_ sign: UInt8, saturates: Bool) -> UInt8 {
        if saturates { return sign | largest }
        switch specials {
        case .none: return sign | largest
        case .topIsNaN, .infinities: return sign | (largest + 1)
        case .negativeZeroIsNaN: return signBit
        }
    }

    private static func nan(_ isNegative: Bool) -> Float { isNegative ? -.nan : .nan }
}

/// Powers of two in 8 bits, without sign, fraction or zero: the scales of microscaling formats.
public enum PowerOfTwoScale {
    /// How a number between two powers of two is rounded.
    public enum Rounding: String, Sendable {
        /// To the larger.
        case up
        /// To the smaller.
        case down
        /// To the nearer, and to the larger from the middle.
        case nearest
    }

    /// The code of NaN.
    public static let nan: UInt8 = 0xFF

    /// The number that a code stands for.
    public static func decode(_ code: UInt8) -> Float {
        code == nan ? .nan : Float(sign: .plus, exponent: Int(code) - 127, significand: 1)
    }

    /// The code of a number.
    ///
    /// Negative numbers, which the format lacks, are rounded by their magnitude.
    /// - Parameter saturates: whether numbers beyond the range become the largest or smallest; otherwise NaN.
    public static func encode(_ value: Double, saturates: Bool, rounding: Rounding) -> UInt8 {
        if value.isNaN { return nan }
        if value.isInfinite { return saturates ? 0xFE : nan }
        if value == 0 { return saturates ? 0 : nan }
        let significand = value.significand
        let isUp =
            switch rounding {
            case .up: significand > 1
            case .down: false
            case .nearest: significand >= 1.5
            }
        let code = Int(value.exponent) + 127 + (isUp ? 1 : 0)
        if code > 0xFE { return saturates ? 0xFE : nan }
        if code < 0 { return saturates ? 0 : nan }
        return UInt8(code)
    }
}
