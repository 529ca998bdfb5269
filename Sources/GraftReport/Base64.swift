// Base64 as RFC 4648 defines it.
extension ReportPage {
    private static let base64Alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The bytes as text.
    package static func base64(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let a = UInt32(bytes[start])
            let b = start + 1 < bytes.count ? UInt32(bytes[start + 1]) : 0
            let c = start + 2 < bytes.count ? UInt32(bytes[start + 2]) : 0
            let word = a << 16 | b << 8 | c
            for position in 0..<4 {
                let digit = base64Alphabet[Int(word >> UInt32(18 - 6 * position) & 63)]
                result.append(start + position > bytes.count ? UInt8(ascii: "=") : digit)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
