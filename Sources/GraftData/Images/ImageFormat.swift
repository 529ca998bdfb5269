/// A picture format, told by the first bytes of a file and not by its name.
public enum ImageFormat: String, Sendable {
    case jpeg = "JPEG"
    case png = "PNG"
    case webp = "WebP"

    /// What the bytes start as: a format that is read, or the name of one that is not.
    enum Detected {
        case known(ImageFormat)
        case unsupported(String)
        case unknown
    }

    static func detect(_ bytes: UnsafeRawBufferPointer) -> Detected {
        func starts(_ magic: String, at offset: Int = 0) -> Bool {
            bytes.count >= offset + magic.utf8.count && bytes[offset...].starts(with: magic.utf8)
        }
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return .known(.jpeg) }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .known(.png) }
        if starts("RIFF"), starts("WEBP", at: 8) { return .known(.webp) }
        if starts("GIF8") { return .unsupported("GIF") }
        if starts("II*\0") || starts("MM\0*") { return .unsupported("TIFF") }
        if starts("ftyp", at: 4) { return .unsupported(starts("avif", at: 8) ? "AVIF" : "HEIF") }
        if starts("BM"), bytes.count >= 26 { return .unsupported("BMP") }
        if starts("\0\0\u{C}JXL", at: 1) { return .unsupported("JPEG XL") }
        return .unknown
    }

    /// Whether a file name ends like one of a picture.
    public static func isPictureName(_ name: String) -> Bool {
        guard let dot = name.lastIndex(of: ".") else { return false }
        return ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp", "heic", "heif", "avif"]
            .contains(name[name.index(after: dot)...].lowercased())
    }
}
