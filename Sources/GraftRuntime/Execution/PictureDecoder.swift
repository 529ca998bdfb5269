/// Turns the bytes of a picture file into pixels; ImageDecoder nodes call it.
///
/// The runtime reads no picture formats itself: who runs models passes a decoder in ``PlanOptions/pictureDecoder``.
public typealias PictureDecoder = @Sendable (UnsafeRawBufferPointer) throws -> DecodedPicture

/// A picture: rows from the top, pixels from the left, channels interleaved, 8 bits each.
public struct DecodedPicture: Sendable {
    /// The number of pixels in a row.
    public let width: Int
    /// The number of rows.
    public let height: Int
    /// The number of channels: 1 for gray, 3 for red, green and blue.
    public let channels: Int
    /// `height * width * channels` values.
    public let pixels: [UInt8]

    /// A picture with the given pixels.
    public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
        self.width = width
        self.height = height
        self.channels = channels
        self.pixels = pixels
    }
}
