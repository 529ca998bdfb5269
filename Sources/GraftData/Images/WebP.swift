import CWebP
import GraftCore

/// WebP pictures, decoded by libwebp.
enum WebP {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let (width, height) = try features(bytes, source: source, limits: limits)
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var isWhole = false
        let image = Image(width: width, height: height, channels: 3) { target in
            target.initialize(repeating: 0)
            isWhole =
                WebPDecodeRGBInto(start, bytes.count, target.baseAddress, target.count, Int32(width * 3)) != nil
        }
        guard isWhole else {
            throw .damaged(source: source, format: "WebP", reason: "its pixels cannot be decoded")
        }
        return (image, orientation(bytes))
    }

    /// The size that the header states, after checks that need no decoding.
    static func features(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (width: Int, height: Int) {
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        // The container states its own size; what lies behind is not part of the picture.
        guard let riff = littleEndian(bytes, 4), riff + 8 <= bytes.count else {
            throw .truncated(source: source, format: "WebP")
        }
        var features = WebPBitstreamFeatures()
        switch WebPGetFeatures(start, bytes.count, &features) {
        case VP8_STATUS_OK: break
        case VP8_STATUS_NOT_ENOUGH_DATA: throw .truncated(source: source, format: "WebP")
        default: throw .damaged(source: source, format: "WebP", reason: "its header cannot be read")
        }
        guard features.has_animation == 0 else {
            throw .unsupportedFeature(source: source, feature: "an animated WebP picture")
        }
        let (width, height) = (Int(features.width), Int(features.height))
        try Image.checkSize(width: width, height: height, source: source, format: .webp, limits: limits)
        return (width, height)
    }

    private static func littleEndian(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        guard offset >= 0, bytes.count >= 4, offset <= bytes.count - 4 else { return nil }
        return Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    /// The orientation in the chunk `EXIF` of an extended file.
    private static func orientation(_ bytes: UnsafeRawBufferPointer) -> Orientation {
        var position = 12
        while let length = littleEndian(bytes, position + 4), length <= bytes.count - position - 8 {
            let start = position + 8
            if bytes[position..<(position + 4)].elementsEqual("EXIF".utf8) {
                var data = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + length)])
                // Some writers repeat the prefix that JPEG needs.
                if data.starts(with: Array("Exif\0\0".utf8)) { data = UnsafeRawBufferPointer(rebasing: data[6...]) }
                return .parse(data)
            }
            position = start + length + length % 2
        }
        return .upright
    }
}
