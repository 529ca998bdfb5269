/// Pillow's conversion of four inks.
enum FourInks {
    /// Red, green and blue of inks of which 255 is all: `255 - ink * (255 - black) / 255 - black`, cut to what there is.
    @inline(__always)
    static func rgb(_ inks: (UInt8, UInt8, UInt8), black: UInt8) -> (UInt8, UInt8, UInt8) {
        let light = 255 - Int(black)
        func value(_ ink: UInt8) -> UInt8 {
            let product = Int(ink) * light + 128
            return UInt8(clamping: light - ((product >> 8) + product) >> 8)
        }
        return (value(inks.0), value(inks.1), value(inks.2))
    }
}

/// Pillow's conversion of luminance and two differences of colour (ITU-R BT.601, full range), in 6 binary places.
enum LuminanceColour {
    private static let redOfCr = table(1.402)
    private static let greenOfCb = table(-0.34414)
    private static let greenOfCr = table(-0.71414)
    private static let blueOfCb = table(1.772)

    private static func table(_ factor: Double) -> [Int] {
        (0..<256).map { Int(factor * Double($0 - 128) * 64 + 0.5) }
    }

    static func rgb(y: UInt8, cb: UInt8, cr: UInt8) -> (UInt8, UInt8, UInt8) {
        let light = Int(y)
        return (
            UInt8(clamping: light + redOfCr[Int(cr)] >> 6),
            UInt8(clamping: light + (greenOfCb[Int(cb)] + greenOfCr[Int(cr)]) >> 6),
            UInt8(clamping: light + blueOfCb[Int(cb)] >> 6)
        )
    }
}
