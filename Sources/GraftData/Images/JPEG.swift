import CTurboJPEG
import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// JPEG pictures (ITU-T T.81), decoded by libjpeg-turbo with the settings that Pillow leaves at their defaults.
enum JPEG {
    /// What the segments before the first scan say.
    struct Header {
        var width = 0
        var height = 0
        var components = 0
        var orientation = Orientation.upright
    }

    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let header = try readHeader(bytes, source: source)
        try Image.checkSize(
            width: header.width, height: header.height, source: source, format: .jpeg, limits: limits)
        let (format, channels) =
            switch header.components {
            case 1: (TJPF_GRAY, 1)
            case 3: (TJPF_RGB, 3)
            default: (TJPF_CMYK, 4)
            }
        guard let handle = tjInitDecompress() else {
            throw .damaged(source: source, format: "JPEG", reason: "the decoder cannot be started")
        }
        defer { tjDestroy(handle) }
        func decode(into target: UnsafeMutableBufferPointer<UInt8>) throws(ImageError) {
            let status = tjDecompress2(
                handle, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt(bytes.count), target.baseAddress,
                Int32(header.width), Int32(header.width * channels), Int32(header.height), format.int, TJFLAG_LIMITSCANS
            )
            // A warning leaves a whole picture, which Pillow accepts too; a missing end has been refused before.
            if status != 0, tjGetErrorCode(handle) != TJERR_WARNING.int {
                throw .damaged(source: source, format: "JPEG", reason: String(cString: tjGetErrorStr2(handle)))
            }
        }
        guard channels == 4 else {
            do {
                let image = try Image(width: header.width, height: header.height, channels: channels) { target in
                    target.initialize(repeating: 0)
                    try decode(into: target)
                }
                return (image, header.orientation)
            } catch let error as ImageError { throw error } catch {
                throw .damaged(source: source, format: "JPEG", reason: "\(error)")
            }
        }
        var inverted = [UInt8](repeating: 0, count: header.width * header.height * 4)
        do { try inverted.withUnsafeMutableBufferPointer { try decode(into: $0) } } catch let error as ImageError {
            throw error
        } catch { throw .damaged(source: source, format: "JPEG", reason: "\(error)") }
        return (rgb(invertedCMYK: inverted, width: header.width, height: header.height), header.orientation)
    }

    /// Red, green and blue of four inks, which Adobe's files store inverted.
    private static func rgb(invertedCMYK source: [UInt8], width: Int, height: Int) -> Image {
        Image(width: width, height: height, channels: 3) { target in
            for i in 0..<(width * height) {
                let inks = (255 - source[4 * i], 255 - source[4 * i + 1], 255 - source[4 * i + 2])
                (target[3 * i], target[3 * i + 1], target[3 * i + 2]) =
                    FourInks.rgb(inks, black: 255 - source[4 * i + 3])
            }
        }
    }

    /// Walks the segments: sizes and orientation from those before the first scan, then on to the end marker.
    static func readHeader(_ bytes: UnsafeRawBufferPointer, source: String) throws(ImageError) -> Header {
        let data = BigEndian(bytes: bytes)
        let cutOff = ImageError.truncated(source: source, format: "JPEG")
        var header = Header()
        var position = 2
        var hasScan = false
        while true {
            position = nextMarker(bytes, from: position, inScan: hasScan)
            guard let marker = data.u8(position) else { throw cutOff }
            position += 1
            if marker == 0xD9 {
                guard hasScan, header.components > 0 else {
                    throw .damaged(source: source, format: "JPEG", reason: "it ends before its first scan")
                }
                return header
            }
            if marker == 0x01 || (0xD0...0xD8).contains(marker) { continue }
            guard let length = data.u16(position) else { throw cutOff }
            guard length >= 2 else {
                throw .damaged(source: source, format: "JPEG", reason: "a segment has length \(length)")
            }
            guard position + length <= bytes.count else { throw cutOff }
            switch marker {
            case 0xC0...0xCF where marker != 0xC4 && marker != 0xC8 && marker != 0xCC && header.components == 0:
                guard let precision = data.u8(position + 2), let height = data.u16(position + 3),
                    let width = data.u16(position + 5), let components = data.u8(position + 7), length >= 8
                else { throw cutOff }
                guard precision == 8 else {
                    throw .unsupportedFeature(source: source, feature: "JPEG with \(precision) bits a channel")
                }
                guard components == 1 || components == 3 || components == 4 else {
                    throw .unsupportedFeature(source: source, feature: "JPEG with \(components) channels")
                }
                (header.width, header.height, header.components) = (width, height, components)
            case 0xE1 where !hasScan && header.orientation == .upright:
                let segment = UnsafeRawBufferPointer(rebasing: bytes[(position + 2)..<(position + length)])
                if segment.starts(with: Array("Exif\0\0".utf8)) {
                    header.orientation = .parse(UnsafeRawBufferPointer(rebasing: segment[6...]))
                }
            case 0xDA: hasScan = true
            default: break
            }
            position += length
        }
    }

    /// The offset of the code of the next marker: the byte after 0xFF.
    ///
    /// Between segments any bytes are skipped, as libjpeg does; within a scan also stuffed zeros and restart markers.
    private static func nextMarker(_ bytes: UnsafeRawBufferPointer, from start: Int, inScan: Bool) -> Int {
        var position = start
        while position < bytes.count {
            guard let base = bytes.baseAddress, let found = memchr(base + position, 0xFF, bytes.count - position) else {
                return bytes.count
            }
            position = UnsafeRawPointer(found) - base + 1
            while position < bytes.count, bytes[position] == 0xFF { position += 1 }
            guard position < bytes.count else { return bytes.count }
            let code = bytes[position]
            if code != 0, !(inScan && (0xD0...0xD7).contains(code)) { return position }
        }
        return bytes.count
    }
}

extension TJPF {
    fileprivate var int: Int32 { Int32(rawValue) }
}

extension TJERR {
    fileprivate var int: Int32 { Int32(rawValue) }
}
