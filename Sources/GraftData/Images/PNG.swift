import CPNG
import GraftCore

/// PNG pictures (ISO/IEC 15948), decoded by libpng.
enum PNG {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let data = BigEndian(bytes: bytes)
        guard let width = data.u32(16), let height = data.u32(20), let colour = data.u8(25), bytes.count >= 33 else {
            throw .truncated(source: source, format: "PNG")
        }
        guard bytes[12..<16].elementsEqual("IHDR".utf8) else {
            throw .damaged(source: source, format: "PNG", reason: "its header does not come first")
        }
        try Image.checkSize(width: width, height: height, source: source, format: .png, limits: limits)
        let channels = colour == 0 || colour == 4 ? 1 : 3
        var message = [CChar](repeating: 0, count: 256)
        var status: Int32 = 0
        let image = Image(width: width, height: height, channels: channels) { target in
            target.initialize(repeating: 0)
            status = cpng_decode(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, UInt32(width), UInt32(height),
                Int32(channels), target.baseAddress, &message, message.count)
        }
        guard status == 0 else {
            let reason = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if reason == "the file is truncated" { throw .truncated(source: source, format: "PNG") }
            throw .damaged(source: source, format: "PNG", reason: reason)
        }
        return (image, orientation(data))
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
