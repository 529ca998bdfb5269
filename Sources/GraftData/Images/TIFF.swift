import CTIFF
import GraftCore

/// TIFF pictures, decoded by libtiff; the first one of a file with several.
enum TIFF {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        var header = try header(bytes, source: source, limits: limits)
        var message = [CChar](repeating: 0, count: 256)
        var status: Int32 = 0
        let image = Image(
            width: Int(header.width), height: Int(header.height), channels: Int(header.channels)
        ) { target in
            target.initialize(repeating: 0)
            status = ctiff_decode(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, &header, target.baseAddress,
                &message,
                message.count)
        }
        try check(status, message, source: source)
        return (image, Orientation(rawValue: Int(header.orientation)) ?? .upright)
    }

    /// Checks the header, and that all pixels lie within the file.
    static func check(_ bytes: UnsafeRawBufferPointer, source: String, limits: Limits) throws(ImageError) {
        _ = try header(bytes, source: source, limits: limits)
        var message = [CChar](repeating: 0, count: 256)
        let status = ctiff_check_parts(
            bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, &message, message.count)
        try check(status, message, source: source)
    }

    private static func header(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> ctiff_header {
        var header = ctiff_header()
        var message = [CChar](repeating: 0, count: 256)
        let status = ctiff_read_header(
            bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, &header, &message, message.count)
        try check(status, message, source: source)
        try Image.checkSize(
            width: Int(header.width), height: Int(header.height), source: source, format: .tiff, limits: limits)
        return header
    }

    private static func check(_ status: Int32, _ message: [CChar], source: String) throws(ImageError) {
        guard status != 0 else { return }
        let reason = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        switch Int(status) {
        case CTIFF_TRUNCATED: throw .truncated(source: source, format: "TIFF")
        case CTIFF_UNSUPPORTED: throw .unsupportedFeature(source: source, feature: "TIFF with \(reason)")
        default: throw .damaged(source: source, format: "TIFF", reason: reason)
        }
    }
}
