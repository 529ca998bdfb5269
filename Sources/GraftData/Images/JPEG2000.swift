import COpenJP2
import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// JPEG 2000 pictures, decoded by OpenJPEG.
enum JPEG2000 {
    static func decode(
        _ bytes: UnsafeRawBufferPointer, source: String, limits: Limits
    ) throws(ImageError) -> (Image, Orientation) {
        let header = try JPEG2000Header(bytes, source: source, limits: limits)
        let stream = Stream(bytes)
        guard let decoded = stream.decode(header.isBoxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K) else {
            let reason = stream.message.isEmpty ? "its pixels cannot be decoded" : stream.message
            throw .damaged(source: source, format: "JPEG 2000", reason: reason)
        }
        defer { opj_image_destroy(decoded) }
        let count = Int(decoded.pointee.numcomps)
        let components = (0..<count).compactMap { Component(decoded.pointee.comps[$0]) }
        guard decoded.pointee.x1 - decoded.pointee.x0 == header.width,
            decoded.pointee.y1 - decoded.pointee.y0 == header.height, (1...4).contains(count), components.count == count
        else { throw .damaged(source: source, format: "JPEG 2000", reason: "a channel is missing") }
        return (picture(components, decoded.pointee.color_space, header), .upright)
    }

    /// One channel of a decoded picture.
    private struct Component {
        let data: UnsafeMutablePointer<OPJ_INT32>
        let width: Int
        let height: Int
        /// How many pixels a value stands for in each direction.
        let step: (x: Int, y: Int)
        let bits: Int
        let isSigned: Bool

        init?(_ component: opj_image_comp_t) {
            guard let data = component.data, component.w > 0, component.h > 0, component.dx > 0, component.dy > 0,
                (1...31).contains(component.prec)
            else { return nil }
            self.data = data
            (width, height) = (Int(component.w), Int(component.h))
            step = (Int(component.dx), Int(component.dy))
            (bits, isSigned) = (Int(component.prec), component.sgnd != 0)
        }

        /// The values of the pixels of a row in 8 bits.
        ///
        /// - Parameter keepsUpperBits: whether values of more than 8 bits are shifted and not scaled, as Pillow does for
        ///   colours.
        func fill(_ row: UnsafeMutableBufferPointer<UInt8>, y: Int, keepsUpperBits: Bool) {
            let line = data + min(y / step.y, height - 1) * width
            let (offset, largest) = (isSigned ? 1 << (bits - 1) : 0, 1 << bits - 1)
            for x in row.indices {
                let value = min(max(Int(line[min(x / step.x, width - 1)]) + offset, 0), largest)
                if bits == 8 {
                    row[x] = UInt8(value)
                } else if bits > 8, keepsUpperBits {
                    row[x] = UInt8(min((value + 1 << (bits - 9)) >> (bits - 8), 255))
                } else {
                    row[x] = UInt8((value * 255 + largest / 2) / largest)
                }
            }
        }
    }

    private static func picture(
        _ components: [Component], _ space: OPJ_COLOR_SPACE, _ header: JPEG2000Header
    ) -> Image {
        let channels = components.count < 3 ? 1 : 3
        let isSubsampled = components.contains { $0.step != (1, 1) }
        let isLuminance = space == OPJ_CLRSPC_SYCC || isSubsampled && space != OPJ_CLRSPC_SRGB
        let inks = components.count == 4 && space == OPJ_CLRSPC_CMYK ? 4 : channels
        var rows = [[UInt8]](repeating: [UInt8](repeating: 0, count: header.width), count: inks)
        return Image(width: header.width, height: header.height, channels: channels) { target in
            for y in 0..<header.height {
                for c in 0..<inks {
                    rows[c].withUnsafeMutableBufferPointer {
                        components[c].fill($0, y: y, keepsUpperBits: channels == 3)
                    }
                }
                for x in 0..<header.width {
                    let place = channels * (y * header.width + x)
                    if inks == 1 {
                        target[place] = rows[0][x]
                        continue
                    }
                    var colour = (rows[0][x], rows[1][x], rows[2][x])
                    if inks == 4 {
                        colour = FourInks.rgb(colour, black: rows[3][x])
                    } else if isLuminance {
                        colour = LuminanceColour.rgb(y: colour.0, cb: colour.1, cr: colour.2)
                    }
                    (target[place], target[place + 1], target[place + 2]) = colour
                }
            }
        }
    }

    /// Bytes in memory as OpenJPEG reads them, and what it says about them.
    private final class Stream {
        let bytes: UnsafeRawBufferPointer
        var position = 0
        var message = ""

        /// What OpenJPEG takes for the end: (OPJ_SIZE_T) -1, whether the type is imported with a sign or without.
        private static let end = OPJ_SIZE_T(truncatingIfNeeded: -1)

        init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        func read(_ target: UnsafeMutableRawPointer?, _ wanted: Int) -> OPJ_SIZE_T {
            guard let target, let base = bytes.baseAddress, wanted > 0, position < bytes.count else { return Self.end }
            let count = min(wanted, bytes.count - position)
            memcpy(target, base + position, count)
            position += count
            return OPJ_SIZE_T(count)
        }

        func skip(_ wanted: OPJ_OFF_T) -> OPJ_OFF_T {
            guard wanted >= 0, position < bytes.count else { return -1 }
            let count = min(wanted, OPJ_OFF_T(bytes.count - position))
            position += Int(count)
            return count
        }

        func seek(_ target: OPJ_OFF_T) -> OPJ_BOOL {
            guard target >= 0, target <= OPJ_OFF_T(bytes.count) else { return 0 }
            position = Int(target)
            return 1
        }

        /// The picture, for `opj_image_destroy`; nil where it cannot be decoded.
        func decode(_ format: OPJ_CODEC_FORMAT) -> UnsafeMutablePointer<opj_image_t>? {
            guard let stream = opj_stream_create(1 << 16, 1) else { return nil }
            defer { opj_stream_destroy(stream) }
            guard let codec = opj_create_decompress(format) else { return nil }
            defer { opj_destroy_codec(codec) }
            let this = Unmanaged.passUnretained(self).toOpaque()
            opj_stream_set_user_data(stream, this, nil)
            opj_stream_set_user_data_length(stream, OPJ_UINT64(bytes.count))
            opj_stream_set_read_function(stream) { Stream.of($2)?.read($0, Int(clamping: $1)) ?? Stream.end }
            opj_stream_set_skip_function(stream) { Stream.of($1)?.skip($0) ?? -1 }
            opj_stream_set_seek_function(stream) { Stream.of($1)?.seek($0) ?? 0 }
            opj_set_error_handler(codec, { Stream.of($1)?.note($0) }, this)
            var parameters = opj_dparameters_t()
            opj_set_default_decoder_parameters(&parameters)
            var image: UnsafeMutablePointer<opj_image_t>?
            return withExtendedLifetime(self) {
                if opj_setup_decoder(codec, &parameters) != 0, opj_read_header(stream, codec, &image) != 0,
                    opj_decode(codec, stream, image) != 0
                {
                    return image
                }
                if let image { opj_image_destroy(image) }
                return nil
            }
        }

        private static func of(_ pointer: UnsafeMutableRawPointer?) -> Stream? {
            pointer.map { Unmanaged<Stream>.fromOpaque($0).takeUnretainedValue() }
        }

        /// The first error is the cause; those behind it are its consequences.
        private func note(_ text: UnsafePointer<CChar>?) {
            guard message.isEmpty, let text else { return }
            message = String(String(cString: text).prefix(200).split(separator: "\n").first ?? "")
        }
    }
}
