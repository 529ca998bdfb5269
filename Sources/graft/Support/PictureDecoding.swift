import GraftData
import GraftRuntime

extension PlanOptions {
    /// The usual plan for inference, with the picture formats that Graft reads.
    static var readingPictures: PlanOptions {
        var options = PlanOptions()
        options.pictureDecoder = { bytes in
            let image = try Image(decoding: bytes, source: "the encoded picture")
            return DecodedPicture(
                width: image.width, height: image.height, channels: image.channels, pixels: image.pixels)
        }
        return options
    }
}
