import CNumerics

/// A part of a picture, in pixels from the top left; sides may lie between pixels.
public struct ImageBox: Sendable, Equatable {
    /// The left side.
    public var left: Float
    /// The upper side.
    public var top: Float
    /// The right side.
    public var right: Float
    /// The lower side.
    public var bottom: Float

    /// The part between four sides.
    public init(left: Float, top: Float, right: Float, bottom: Float) {
        (self.left, self.top, self.right, self.bottom) = (left, top, right, bottom)
    }

    /// The part of the given size whose top left pixel is at (x, y).
    public init(x: Int, y: Int, width: Int, height: Int) {
        self.init(left: Float(x), top: Float(y), right: Float(x + width), bottom: Float(y + height))
    }
}

extension Image {
    /// The picture, or the part of it in `box`, at another size: Pillow's `resize(size, filter, box)` bit for bit.
    ///
    /// When a picture gets smaller the filter covers all pixels that fall on a target pixel (antialiasing). The
    /// horizontal pass comes first where that is cheaper, and only for rows that the vertical pass needs; between the
    /// passes values are rounded to 8 bits.
    /// - Precondition: the target sides are positive, and the box lies within the picture and is not empty.
    public func resized(width newWidth: Int, height newHeight: Int, filter: ResamplingFilter, box: ImageBox? = nil)
        -> Image
    {
        precondition(newWidth > 0 && newHeight > 0)
        let whole = ImageBox(x: 0, y: 0, width: width, height: height)
        let box = box ?? whole
        precondition(box.left >= 0 && box.top >= 0 && box.right <= Float(width) && box.bottom <= Float(height))
        precondition(box.left < box.right && box.top < box.bottom)
        if box == ImageBox(x: 0, y: 0, width: newWidth, height: newHeight), box == whole { return self }
        if filter == .nearest { return nearest(width: newWidth, height: newHeight, box: box) }

        let vertical = ResamplingAxis(filter: filter, inputs: height, range: (box.top, box.bottom), outputs: newHeight)
        let horizontal = ResamplingAxis(filter: filter, inputs: width, range: (box.left, box.right), outputs: newWidth)
        let isSameWidth = newWidth == width && box.left == 0 && box.right == Float(newWidth)
        let isSameHeight = newHeight == height && box.top == 0 && box.bottom == Float(newHeight)
        if isSameWidth { return resampledVertically(vertical) }
        if isSameHeight { return resampledHorizontally(horizontal, rows: 0..<height) }
        // Pillow 13 starts with the vertical pass where it saves at least twice as many rows as the other saves columns;
        // the box has no part in that.
        if newHeight < height, 2 * (width - newWidth) < height - newHeight {
            return resampledVertically(vertical).resampledHorizontally(horizontal, rows: 0..<newHeight)
        }
        let rows = vertical.used
        return resampledHorizontally(horizontal, rows: rows).resampledVertically(vertical.shifted(by: rows.lowerBound))
    }

    private func resampledHorizontally(_ axis: ResamplingAxis, rows: Range<Int>) -> Image {
        Image(width: axis.outputs, height: rows.count, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                axis.withAxis {
                    cresample_horizontal(
                        source.baseAddress! + rows.lowerBound * rowBytes, rows.count, width, Int32(channels), $0,
                        target.baseAddress)
                }
            }
        }
    }

    private func resampledVertically(_ axis: ResamplingAxis) -> Image {
        Image(width: width, height: axis.outputs, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                axis.withAxis { cresample_vertical(source.baseAddress, rowBytes, $0, target.baseAddress) }
            }
        }
    }

    private func nearest(width newWidth: Int, height newHeight: Int, box: ImageBox) -> Image {
        // Positions are summed up step by step, as Pillow does, which decides where a sum falls between two pixels.
        func places(from: Float, to: Float, outputs: Int, bound: Int) -> [Int] {
            let step = Double(to - from) / Double(outputs)
            var position = Double(from) + step * 0.5
            return (0..<outputs).map { _ in
                defer { position += step }
                return min(max(Int(position), 0), bound - 1)
            }
        }
        let columns = places(from: box.left, to: box.right, outputs: newWidth, bound: width)
        let rows = places(from: box.top, to: box.bottom, outputs: newHeight, bound: height)
        return Image(width: newWidth, height: newHeight, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                var written = 0
                for row in rows {
                    let start = row * rowBytes
                    for column in columns {
                        for c in 0..<channels { target[written + c] = source[start + column * channels + c] }
                        written += channels
                    }
                }
            }
        }
    }

    /// The part of the given size whose top left pixel is at (x, y); `fill` where it lies outside the picture.
    public func cropped(x: Int, y: Int, width newWidth: Int, height newHeight: Int, fill: [UInt8] = [0, 0, 0]) -> Image
    {
        precondition(newWidth > 0 && newHeight > 0 && fill.count >= channels)
        if x == 0, y == 0, newWidth == width, newHeight == height { return self }
        return Image(width: newWidth, height: newHeight, channels: channels) { target in
            pixels.withUnsafeBufferPointer { source in
                for row in 0..<newHeight {
                    let out = row * newWidth * channels
                    let inside = row + y >= 0 && row + y < height
                    let first = inside ? min(max(-x, 0), newWidth) : newWidth
                    let last = inside ? max(min(width - x, newWidth), first) : newWidth
                    for column in 0..<first {
                        for c in 0..<channels { target[out + column * channels + c] = fill[c] }
                    }
                    if last > first {
                        let from = ((row + y) * width + first + x) * channels
                        let part = UnsafeBufferPointer(rebasing: source[from..<(from + (last - first) * channels)])
                        _ = UnsafeMutableBufferPointer(rebasing: target[(out + first * channels)...]).update(from: part)
                    }
                    if inside {
                        for column in last..<newWidth {
                            for c in 0..<channels { target[out + column * channels + c] = fill[c] }
                        }
                    }
                }
            }
        }
    }
}
