/// A picture with float values, for resizing without antialiasing and without rounding.
struct FloatImage {
    let width: Int
    let height: Int
    let channels: Int
    private(set) var values: [Float]

    /// The picture at another size as TensorFlow's `image.resize` computes it without antialiasing.
    ///
    /// Bilinear (`half_pixel_centers`): the target's centre `(x + 0.5) * scale - 0.5` lies between two pixels, clamped
    /// at the borders; rows are mixed after columns. Nearest: pixel `floor((x + 0.5) * scale)`.
    init(resizing image: Image, width newWidth: Int, height newHeight: Int, filter: ResamplingFilter) {
        width = newWidth
        height = newHeight
        channels = image.channels
        let columns = Self.axis(inputs: image.width, outputs: newWidth, filter: filter)
        let rows = Self.axis(inputs: image.height, outputs: newHeight, filter: filter)
        let channels = channels
        values = [Float](unsafeUninitializedCapacity: newWidth * newHeight * channels) { target, initialized in
            image.pixels.withUnsafeBufferPointer { source in
                var written = 0
                for row in rows {
                    let upper = row.first * image.rowBytes
                    let lower = row.second * image.rowBytes
                    for column in columns {
                        let left = column.first * channels
                        let right = column.second * channels
                        for c in 0..<channels {
                            let topLeft = Float(source[upper + left + c])
                            let top = topLeft + (Float(source[upper + right + c]) - topLeft) * column.fraction
                            let bottomLeft = Float(source[lower + left + c])
                            let bottom = bottomLeft + (Float(source[lower + right + c]) - bottomLeft) * column.fraction
                            target[written] = top + (bottom - top) * row.fraction
                            written += 1
                        }
                    }
                }
            }
            initialized = newWidth * newHeight * channels
        }
    }

    private init(width: Int, height: Int, channels: Int, values: [Float]) {
        (self.width, self.height, self.channels, self.values) = (width, height, channels, values)
    }

    private static func axis(
        inputs: Int, outputs: Int, filter: ResamplingFilter
    ) -> [(first: Int, second: Int, fraction: Float)] {
        let scale = Float(inputs) / Float(outputs)
        return (0..<outputs).map { x in
            let centre = (Float(x) + 0.5) * scale
            if filter == .nearest {
                let pixel = min(max(Int(centre), 0), inputs - 1)
                return (pixel, pixel, 0)
            }
            let position = centre - 0.5
            let floor = position.rounded(.down)
            let first = max(Int(floor), 0)
            let second = min(Int(position.rounded(.up)), inputs - 1)
            return (min(first, inputs - 1), max(second, 0), position - floor)
        }
    }

    /// The part of the given size whose top left pixel is at (x, y); `fill` where it lies outside.
    func cropped(x: Int, y: Int, width newWidth: Int, height newHeight: Int, fill: Float) -> FloatImage {
        if x == 0, y == 0, newWidth == width, newHeight == height { return self }
        var result = [Float](repeating: fill, count: newWidth * newHeight * channels)
        for row in max(0, -y)..<max(0, -y, min(newHeight, height - y)) {
            for column in max(0, -x)..<max(0, -x, min(newWidth, width - x)) {
                for c in 0..<channels {
                    result[(row * newWidth + column) * channels + c] =
                        values[((row + y) * width + column + x) * channels + c]
                }
            }
        }
        return FloatImage(width: newWidth, height: newHeight, channels: channels, values: result)
    }

    /// The values rounded to pixels.
    var image: Image {
        Image(
            width: width, height: height, channels: channels,
            pixels: values.map { UInt8(max(0, min(255, $0.rounded(.toNearestOrEven)))) })
    }
}
