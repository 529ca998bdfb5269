import GraftCore
import GraftIR

/// ImageDecoder: pixels of a picture file, by the decoder of whoever runs the model.
enum ImageDecodingKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            .function(
                "ImageDecoder", opsets: 20...KernelRegistry.newestOpset, prepare: { try Settings($0) },
                run: { try decode($1, $0) })
        ]
    }

    private enum Order: String {
        case rgb = "RGB"
        case bgr = "BGR"
        case gray = "Grayscale"
    }

    private struct Settings: Sendable {
        let order: Order
        let decoder: PictureDecoder

        init(_ node: KernelNode) throws {
            let name = node.attributes.string("pixel_format") ?? "RGB"
            guard let order = Order(rawValue: name) else {
                throw KernelFailure("pixel_format is \"\(name)\"; it must be RGB, BGR or Grayscale")
            }
            guard let decoder = node.options.pictureDecoder else {
                throw KernelFailure("no decoder of pictures is given to the plan")
            }
            (self.order, self.decoder) = (order, decoder)
        }
    }

    private static func decode(_ context: KernelContext, _ settings: Settings) throws {
        let file = try context.plain(0, .uint8)
        guard file.rank == 1 else { throw KernelFailure("encoded bytes of shape \(file.shape)") }
        let picture: DecodedPicture
        do {
            picture = try settings.decoder(UnsafeRawBufferPointer(start: file.pointer, count: file.count))
        } catch {
            throw KernelFailure("\(error)")
        }
        let (height, width, channels) = (picture.height, picture.width, picture.channels)
        guard height > 0, width > 0, channels == 1 || channels == 3,
            Checked.product([height, width, channels]) == picture.pixels.count
        else { throw KernelFailure("the decoder gives \(picture.pixels.count) values for \(height) x \(width)") }
        let y = try context.output(0, .uint8, [height, width, settings.order == .gray ? 1 : 3])
        let target = y.typed(UInt8.self)
        picture.pixels.withUnsafeBufferPointer { source in
            Parallel.forEachRange(height * width, grain: 16384) { range in
                for index in range {
                    let red = source[index * channels]
                    let green = channels == 3 ? source[3 * index + 1] : red
                    let blue = channels == 3 ? source[3 * index + 2] : red
                    switch settings.order {
                    case .rgb: (target[3 * index], target[3 * index + 1], target[3 * index + 2]) = (red, green, blue)
                    case .bgr: (target[3 * index], target[3 * index + 1], target[3 * index + 2]) = (blue, green, red)
                    case .gray:
                        // 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point; a gray value stays what it is.
                        let sum = UInt32(red) * 19595 + UInt32(green) * 38470 + UInt32(blue) * 7471
                        target[index] = UInt8(truncatingIfNeeded: (sum + 0x8000) >> 16)
                    }
                }
            }
        }
    }
}
