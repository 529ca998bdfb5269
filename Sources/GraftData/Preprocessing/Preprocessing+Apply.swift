extension Preprocessing {
    /// Writes the numbers that a picture becomes into `target`, in the contract's layout.
    ///
    /// - Precondition: `target` holds ``sampleCount`` numbers.
    public func apply(_ image: Image, into target: UnsafeMutableBufferPointer<Float>) {
        precondition(target.count == sampleCount)
        let image = inModelChannels(image)
        if antialias {
            normalize(sized(image), into: target)
        } else {
            let plan = Placement(of: image, in: self)
            let resized = FloatImage(resizing: image, width: plan.width, height: plan.height, filter: filter)
            normalize(
                resized.cropped(x: plan.x, y: plan.y, width: width, height: height, fill: plan.fill), into: target)
        }
    }

    /// The numbers that a picture becomes.
    public func apply(_ image: Image) -> [Float] {
        [Float](unsafeUninitializedCapacity: sampleCount) { target, initialized in
            apply(image, into: UnsafeMutableBufferPointer(rebasing: target[..<sampleCount]))
            initialized = sampleCount
        }
    }

    /// The picture at the model's size, by the contract's resize.
    func sized(_ image: Image) -> Image {
        let plan = Placement(of: image, in: self)
        let resized = resized(image, width: plan.width, height: plan.height)
        return resized.cropped(
            x: plan.x, y: plan.y, width: width, height: height, fill: [UInt8](repeating: UInt8(plan.fill), count: 3))
    }

    /// The picture, or a part of it, at another size by the contract's filter.
    func resized(_ image: Image, width: Int, height: Int, box: ImageBox? = nil) -> Image {
        if antialias { return image.resized(width: width, height: height, filter: filter, box: box) }
        var part = image
        if let box {
            part = image.cropped(
                x: Int(box.left), y: Int(box.top), width: max(1, Int(box.right - box.left)),
                height: max(1, Int(box.bottom - box.top)))
        }
        return FloatImage(resizing: part, width: width, height: height, filter: filter).image
    }

    /// The picture in gray or in colour, as the model needs; the order of colours is left to ``normalize(_:into:)``.
    func inModelChannels(_ image: Image) -> Image { channels == .gray ? image.gray : image }

    /// Writes a picture of the model's size as numbers.
    ///
    /// Gray pictures fill all channels. Each of the 256 values of a channel is computed once, in double precision, and rounded to float.
    func normalize(_ image: Image, into target: UnsafeMutableBufferPointer<Float>) {
        precondition(image.width == width && image.height == height && target.count == sampleCount)
        let count = channels.count
        let tables = [Float](unsafeUninitializedCapacity: 256 * count) { tables, initialized in
            for c in 0..<count {
                for value in 0..<256 { tables[c * 256 + value] = Float((Double(value) * scale - mean[c]) / std[c]) }
            }
            initialized = 256 * count
        }
        let (pixelStep, channelStep) = layout == .nchw ? (1, width * height) : (count, 1)
        let sourceStep = image.channels
        image.pixels.withUnsafeBufferPointer { source in
            tables.withUnsafeBufferPointer { tables in
                for c in 0..<count {
                    let table = tables.baseAddress! + c * 256
                    let from = source.baseAddress! + sourceChannel(c, of: sourceStep)
                    let to = target.baseAddress! + c * channelStep
                    for i in 0..<(width * height) { to[i * pixelStep] = table[Int(from[i * sourceStep])] }
                }
            }
        }
    }

    private func normalize(_ image: FloatImage, into target: UnsafeMutableBufferPointer<Float>) {
        let count = channels.count
        let (pixelStep, channelStep) = layout == .nchw ? (1, width * height) : (count, 1)
        for c in 0..<count {
            let from = sourceChannel(c, of: image.channels)
            let (scale, mean, std) = (Float(scale), Float(mean[c]), Float(std[c]))
            for i in 0..<(width * height) {
                target[c * channelStep + i * pixelStep] = (image.values[i * image.channels + from] * scale - mean) / std
            }
        }
    }

    private func sourceChannel(_ c: Int, of available: Int) -> Int {
        available == 1 ? 0 : channels == .bgr ? 2 - c : c
    }
}

/// Where a resized picture lies in the model's frame.
struct Placement {
    /// The size that the picture is resized to.
    var width: Int
    var height: Int
    /// The position of the frame's corner in the resized picture.
    var x: Int
    var y: Int
    /// The pixel value outside the picture.
    var fill: Float

    init(of image: Image, in contract: Preprocessing) {
        self.init(width: image.width, height: image.height, in: contract)
    }

    init(width imageWidth: Int, height imageHeight: Int, in contract: Preprocessing) {
        width = contract.width
        height = contract.height
        (x, y, fill) = (0, 0, 0)
        switch contract.resize {
        case .stretch: break
        case .crop(let shortSide):
            // torchvision's rule: the long side is truncated; the crop's corner is rounded half to even.
            if imageWidth <= imageHeight {
                width = shortSide
                height = max(1, shortSide * imageHeight / imageWidth)
            } else {
                height = shortSide
                width = max(1, shortSide * imageWidth / imageHeight)
            }
            x = Self.half(width - contract.width)
            y = Self.half(height - contract.height)
        case .pad(let value):
            let ratio = min(
                Double(contract.width) / Double(imageWidth), Double(contract.height) / Double(imageHeight))
            width = min(contract.width, max(1, Int((Double(imageWidth) * ratio).rounded())))
            height = min(contract.height, max(1, Int((Double(imageHeight) * ratio).rounded())))
            x = -((contract.width - width) / 2)
            y = -((contract.height - height) / 2)
            fill = Float(value)
        }
    }

    private static func half(_ difference: Int) -> Int {
        Int((Double(difference) / 2).rounded(.toNearestOrEven))
    }
}
