import GraftCore

/// The preprocessing of a known family of models.
public struct PreprocessingPreset: Sendable {
    /// The name that users give.
    public let name: String
    /// What it is, in one line.
    public let summary: String
    private let make:
        @Sendable (_ height: Int, _ width: Int, _ isGray: Bool) throws(PreprocessingError) -> Preprocessing

    /// All presets.
    public static let all: [PreprocessingPreset] = [
        .torchvision, .timm, .caffe, .tf, .torch, .raw, .unit, .inception,
    ]

    /// The preset of the given name.
    ///
    /// - Throws: ``PreprocessingError/unknownPreset(name:suggestion:)``.
    public static func named(_ name: String) throws(PreprocessingError) -> PreprocessingPreset {
        guard let preset = all.first(where: { $0.name == name }) else {
            let names = all.map(\.name)
            let near = Suggestion.sentence(name, in: names)
            throw .unknownPreset(name: name, suggestion: "\(near) Known are \(names.joined(separator: ", ")).")
        }
        return preset
    }

    /// The contract for a model that takes `height` x `width` pixels.
    ///
    /// With `.gray` channels the colour statistics of a preset become their mean.
    public func preprocessing(
        height: Int, width: Int, channels: Preprocessing.Channels? = nil, layout: Preprocessing.Layout = .nchw
    ) throws(PreprocessingError) -> Preprocessing {
        var result = try make(height, width, channels == .gray)
        if let channels, channels != .gray, channels != result.channels {
            result.mean.reverse()
            result.std.reverse()
            result.channels = channels
        }
        result.layout = layout
        return result
    }

    private static func imageNet(gray: Bool) -> (mean: [Double], std: [Double]) {
        // The statistics of ImageNet's training pictures, as torchvision states them.
        let mean = [0.485, 0.456, 0.406]
        let std = [0.229, 0.224, 0.225]
        return gray ? ([mean.reduce(0, +) / 3], [std.reduce(0, +) / 3]) : (mean, std)
    }

    /// A picture of the size of thumbnails is not cropped: there is nothing to spare at its borders.
    private static func crop(_ height: Int, _ width: Int, side: (Int) -> Int) -> Preprocessing.Resize {
        let longest = max(height, width)
        return .crop(shortSide: longest <= 64 ? longest : side(longest))
    }

    private static func make(
        _ height: Int, _ width: Int, _ gray: Bool, scale: Double, offset: Double = 0
    ) throws(PreprocessingError) -> Preprocessing {
        let channels: Preprocessing.Channels = gray ? .gray : .rgb
        return try Preprocessing(
            height: height, width: width, scale: scale, mean: [Double](repeating: offset, count: channels.count),
            channels: channels)
    }

    /// torchvision's evaluation transform: the short side to 256 for 224, bilinear, centre crop, ImageNet statistics.
    public static let torchvision = PreprocessingPreset(
        name: "torchvision", summary: "short side to 256 for 224, centre crop, x/255, ImageNet mean and std"
    ) { height, width, gray throws(PreprocessingError) in
        let (mean, std) = imageNet(gray: gray)
        return try Preprocessing(
            height: height, width: width, resize: crop(height, width) { ($0 * 256 + 112) / 224 }, scale: 1 / 255,
            mean: mean, std: std, channels: gray ? .gray : .rgb)
    }

    /// timm's default: bicubic, a crop of 0.875 of the short side, ImageNet statistics.
    public static let timm = PreprocessingPreset(
        name: "timm", summary: "bicubic, centre crop of 0.875, x/255, ImageNet mean and std"
    ) { height, width, gray throws(PreprocessingError) in
        let (mean, std) = imageNet(gray: gray)
        return try Preprocessing(
            height: height, width: width, resize: crop(height, width) { $0 * 1000 / 875 }, filter: .bicubic,
            scale: 1 / 255, mean: mean, std: std, channels: gray ? .gray : .rgb)
    }

    /// Inception's in timm: bicubic, a crop of 0.875, values from -1 to 1.
    public static let inception = PreprocessingPreset(
        name: "inception", summary: "bicubic, centre crop of 0.875, x/127.5 - 1"
    ) { height, width, gray throws(PreprocessingError) in
        let channels: Preprocessing.Channels = gray ? .gray : .rgb
        let half = [Double](repeating: 0.5, count: channels.count)
        return try Preprocessing(
            height: height, width: width, resize: crop(height, width) { $0 * 1000 / 875 }, filter: .bicubic,
            scale: 1 / 255, mean: half, std: half, channels: channels)
    }

    /// Keras' mode `caffe`: BGR minus the mean colour, no scaling (ResNet v1, VGG).
    public static let caffe = PreprocessingPreset(
        name: "caffe", summary: "Keras ResNet and VGG: BGR minus 103.939, 116.779, 123.68"
    ) { height, width, gray throws(PreprocessingError) in
        let mean = [103.939, 116.779, 123.68]
        return try Preprocessing(
            height: height, width: width, mean: gray ? [mean.reduce(0, +) / 3] : mean, channels: gray ? .gray : .bgr)
    }

    /// Keras' mode `tf`: values from -1 to 1 (MobileNet v1 and v2, Inception, Xception, NASNet, ResNet v2).
    public static let tf = PreprocessingPreset(
        name: "tf", summary: "Keras MobileNet, Inception, Xception: x/127.5 - 1"
    ) { height, width, gray throws(PreprocessingError) in
        try make(height, width, gray, scale: 1 / 127.5, offset: 1)
    }

    /// Keras' mode `torch`: ImageNet statistics (DenseNet).
    public static let torch = PreprocessingPreset(
        name: "torch", summary: "Keras DenseNet: x/255, ImageNet mean and std, stretched"
    ) { height, width, gray throws(PreprocessingError) in
        let (mean, std) = imageNet(gray: gray)
        return try Preprocessing(
            height: height, width: width, scale: 1 / 255, mean: mean, std: std, channels: gray ? .gray : .rgb)
    }

    /// Pixel values 0...255 as they are.
    public static let raw = PreprocessingPreset(name: "raw", summary: "0 to 255, as in the file") {
        height, width, gray throws(PreprocessingError) in
        try make(height, width, gray, scale: 1)
    }

    /// Values from 0 to 1.
    public static let unit = PreprocessingPreset(name: "unit", summary: "x/255") {
        height, width, gray throws(PreprocessingError) in
        try make(height, width, gray, scale: 1 / 255)
    }
}
