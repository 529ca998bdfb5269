import CPNG
import GraftCore
import GraftWeights

/// PNG pictures (ISO/IEC 15948), decoded by libpng.
enum PNG {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let (width, height, colour) = try header(bytes, source: source, limits: limits)
        let channels = colour == 0 || colour == 4 ? 1 : 3
        var message = [CChar](repeating: 0, count: 256)
        var status: Int32 = 0
        let image = Image(width: width, height: height, channels: channels) { target in
            target.initialize(repeating: 0)
            status = cpng_decode(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, UInt32(width), UInt32(height),
                Int32(channels), target.baseAddress, &message, message.count)
        }
        try check(status, message, source: source)
        return (image, orientation(BigEndian(bytes: bytes)))
    }

    /// Decodes palette indices or gray values as they are stored, in one channel.
    static func decodeIndices(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> Image {
        let (width, height, colour) = try header(bytes, source: source, limits: limits)
        guard colour == 0 || colour == 3, (BigEndian(bytes: bytes).u8(24) ?? 16) <= 8 else {
            throw .damaged(
                source: source, format: "PNG",
                reason: "the classes of a mask must be a palette's indices or gray values of at most 8 bits")
        }
        var message = [CChar](repeating: 0, count: 256)
        var status: Int32 = 0
        let image = Image(width: width, height: height, channels: 1) { target in
            target.initialize(repeating: 0)
            status = cpng_decode_indices(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, UInt32(width), UInt32(height),
                target.baseAddress, &message, message.count)
        }
        try check(status, message, source: source)
        return image
    }

    private static func check(_ status: Int32, _ message: [CChar], source: String) throws(ImageError) {
        guard status != 0 else { return }
        let reason = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if reason == "the file is truncated" { throw .truncated(source: source, format: "PNG") }
        throw .damaged(source: source, format: "PNG", reason: reason)
    }

    private static func header(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (width: Int, height: Int, colour: Int) {
        let data = BigEndian(bytes: bytes)
        guard let width = data.u32(16), let height = data.u32(20), let colour = data.u8(25), bytes.count >= 33 else {
            throw .truncated(source: source, format: "PNG")
        }
        guard bytes[12..<16].elementsEqual("IHDR".utf8) else {
            throw .damaged(source: source, format: "PNG", reason: "its header does not come first")
        }
        try Image.checkSize(width: width, height: height, source: source, format: .png, limits: limits)
        return (width, height, colour)
    }

    /// Checks the header and the checksums of all chunks up to the end of the pixels.
    static func check(_ bytes: UnsafeRawBufferPointer, source: String, limits: Limits) throws(ImageError) {
        _ = try header(bytes, source: source, limits: limits)
        let data = BigEndian(bytes: bytes)
        var position = 8
        var hasPixels = false
        while let length = data.u32(position), let kind = data.u32(position + 4) {
            let isPixels = kind == 0x4944_4154
            if hasPixels, !isPixels { return }
            guard length <= bytes.count - position - 12, let checksum = data.u32(position + 8 + length) else { break }
            let chunk = UnsafeRawBufferPointer(rebasing: bytes[(position + 4)..<(position + 8 + length)])
            // Chunks with a lower-case first letter can be ignored, damaged or not.
            if kind & 0x2000_0000 == 0, Int(CRC32.checksum(chunk)) != checksum {
                throw .damaged(source: source, format: "PNG", reason: "the checksum at byte \(position) is wrong")
            }
            hasPixels = hasPixels || isPixels
            position += length + 12
        }
        guard hasPixels, position == bytes.count else { throw .truncated(source: source, format: "PNG") }
    }

    /// The orientation in the chunk `eXIf`, which may stand before or behind the pixels.
    private static func orientation(_ data: BigEndian) -> Orientation {
        var position = 8
        while let length = data.u32(position), length <= data.bytes.count - position - 8 {
            let start = position + 8
            if data.bytes[(position + 4)..<start].elementsEqual("eXIf".utf8) {
                return .parse(UnsafeRawBufferPointer(rebasing: data.bytes[start..<(start + length)]))
            }
            position = start + length + 4
        }
        return .upright
    }
}
