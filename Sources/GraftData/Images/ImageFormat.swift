/// A picture format, told by the first bytes of a file and not by its name.
public enum ImageFormat: String, Sendable {
    case jpeg = "JPEG"
    case png = "PNG"
    case webp = "WebP"
    case bmp = "BMP"
    case pnm = "PNM"
    case tiff = "TIFF"
    case jpeg2000 = "JPEG 2000"

    /// The names of all formats that are read, for messages.
    static let names = "JPEG, PNG, WebP, BMP, PNM, TIFF and JPEG 2000"

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
        // Also with offsets of 64 bits.
        if starts("II*\0") || starts("MM\0*") || starts("II+\0") || starts("MM\0+") { return .known(.tiff) }
        if bytes.starts(with: [0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20, 0x0D, 0x0A, 0x87, 0x0A])
            || bytes.starts(with: [0xFF, 0x4F, 0xFF, 0x51])
        {
            return .known(.jpeg2000)
        }
        if PNM.starts(bytes) { return .known(.pnm) }
        if starts("ftyp", at: 4) { return .unsupported(starts("avif", at: 8) ? "AVIF" : "HEIF") }
        if BMP.starts(bytes) { return .known(.bmp) }
        if starts("\0\0\u{C}JXL", at: 1) { return .unsupported("JPEG XL") }
        return .unknown
    }

    /// Those of formats that are not read too: such a file is refused and not passed over.
    private static let nameEndings = Set(
        "jpg jpeg jpe jfif png webp gif tif tiff bmp dib pbm pgm ppm pnm jp2 j2k jpx jpf j2c jpc heic heif avif"
            .split(separator: " ").map(String.init))

    /// Whether a file name ends like one of a picture.
    public static func isPictureName(_ name: String) -> Bool {
        guard let dot = name.lastIndex(of: ".") else { return false }
        return nameEndings.contains(name[name.index(after: dot)...].lowercased())
    }
}
