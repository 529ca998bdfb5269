import GraftCore
import GraftWeights

#if canImport(Glibc)
import Glibc
#endif

extension Image {
    /// Checks that a file is a whole picture of a format that is read, without decoding its pixels.
    ///
    /// - Throws: ``FileError`` or ``ImageError``.
    public static func check(path: String, limits: Limits = Limits()) throws {
        let file = try MappedFile(path: path)
        try withExtendedLifetime(file) {
            let bytes = file.bytes
            switch ImageFormat.detect(bytes) {
            case .known(.jpeg):
                let header = try JPEG.readHeader(bytes, source: path)
                try checkSize(
                    width: header.width, height: header.height, source: path, format: .jpeg, limits: limits)
            case .known(.png): try PNG.check(bytes, source: path, limits: limits)
            case .known(.webp): _ = try WebP.features(bytes, source: path, limits: limits)
            case .known(.bmp): try BMP.check(bytes, source: path, limits: limits)
            case .known(.pnm): try PNM.check(bytes, source: path, limits: limits)
            case .known(.tiff): try TIFF.check(bytes, source: path, limits: limits)
            case .known(.jpeg2000): _ = try JPEG2000Header(bytes, source: path, limits: limits)
            case .unsupported(let format): throw ImageError.unsupportedFormat(source: path, format: format)
            case .unknown: throw ImageError.unknownFormat(source: path)
            }
        }
    }

    /// Whether a file starts as a picture does.
    static func isPicture(path: String) -> Bool {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: 32, alignment: 16) { buffer in
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            guard count > 0 else { return false }
            if case .known = ImageFormat.detect(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { return true }
            return false
        }
    }
}
