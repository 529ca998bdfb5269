import GraftCore

extension Image {
    /// Reads the picture file at `path`, as Pillow's `ImageOps.exif_transpose(image).convert("RGB")` does.
    ///
    /// The pixels are Pillow's: JPEG with the accurate integer transform and smooth chroma, CMYK by Pillow's formula,
    /// no gamma or colour profile. Two cases differ: 16-bit gray is scaled to 8 bits, where Pillow would turn all values
    /// beyond 255 white, and so are JPEG 2000 pictures of fewer than 8 bits, which Pillow would make darker. Transparency is dropped. Gray files stay gray (one channel). The orientation that
    /// EXIF data states is applied, so people stand upright.
    /// - Throws: ``FileError`` or ``ImageError``.
    public init(path: String, limits: Limits = Limits()) throws {
        let file = try MappedFile(path: path)
        self = try withExtendedLifetime(file) { try Image(decoding: file.bytes, source: path, limits: limits) }
    }

    /// Decodes a picture of any ``ImageFormat``; `source` names it in messages.
    ///
    /// - Throws: ``ImageError``.
    public init(decoding bytes: UnsafeRawBufferPointer, source: String, limits: Limits = Limits()) throws(ImageError) {
        let decoded: (image: Image, orientation: Orientation)
        switch ImageFormat.detect(bytes) {
        case .known(.jpeg): decoded = try JPEG.decode(bytes, source: source, limits: limits)
        case .known(.png): decoded = try PNG.decode(bytes, source: source, limits: limits)
        case .known(.webp): decoded = try WebP.decode(bytes, source: source, limits: limits)
        case .known(.bmp): decoded = try BMP.decode(bytes, source: source, limits: limits)
        case .known(.pnm): decoded = try PNM.decode(bytes, source: source, limits: limits)
        case .known(.tiff): decoded = try TIFF.decode(bytes, source: source, limits: limits)
        case .known(.jpeg2000): decoded = try JPEG2000.decode(bytes, source: source, limits: limits)
        case .unsupported(let format): throw .unsupportedFormat(source: source, format: format)
        case .unknown: throw .unknownFormat(source: source)
        }
        self = decoded.image.upright(decoded.orientation)
    }

    /// Refuses a declared size before memory is reserved for it.
    static func checkSize(width: Int, height: Int, source: String, format: ImageFormat, limits: Limits)
        throws(ImageError)
    {
        guard width > 0, height > 0 else {
            throw .damaged(source: source, format: format.rawValue, reason: "it is \(width) x \(height) pixels")
        }
        guard let pixels = Checked.product([width, height]), pixels <= min(limits.imagePixels, Int.max / 8) else {
            throw .tooLarge(source: source, width: width, height: height, limit: limits.imagePixels)
        }
    }
}

/// Reads of big-endian integers within bounds.
struct BigEndian {
    let bytes: UnsafeRawBufferPointer

    func u8(_ offset: Int) -> Int? { offset >= 0 && offset < bytes.count ? Int(bytes[offset]) : nil }

    func u16(_ offset: Int) -> Int? {
        guard let a = u8(offset), let b = u8(offset + 1) else { return nil }
        return a << 8 | b
    }

    func u32(_ offset: Int) -> Int? {
        guard let a = u16(offset), let b = u16(offset + 2) else { return nil }
        return a << 16 | b
    }
}
