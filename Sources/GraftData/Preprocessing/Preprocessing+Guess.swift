import GraftCore

/// What is known about a model whose file holds no preprocessing contract.
public struct PreprocessingEvidence: Sendable {
    /// The input's dimensions with the batch; nil where not fixed.
    public var inputShape: [Int?]
    /// The input's element type.
    public var elementType: ElementType
    /// The order of dimensions, where the format says it.
    public var layout: Preprocessing.Layout?
    /// Who wrote the file: `pytorch`, `tf2onnx`, `keras`, `CNTK` ...
    public var producer: String
    /// The names of the model, its layers and nodes.
    public var layerNames: [String]
    /// The operator or layer types between the input and the first one with large weights, in order.
    public var firstOperators: [String]

    /// Evidence about a model.
    public init(
        inputShape: [Int?], elementType: ElementType = .float32, layout: Preprocessing.Layout? = nil,
        producer: String = "", layerNames: [String] = [], firstOperators: [String] = []
    ) {
        self.inputShape = inputShape
        self.elementType = elementType
        self.layout = layout
        self.producer = producer
        self.layerNames = layerNames
        self.firstOperators = firstOperators
    }
}

extension Preprocessing {
    /// The most likely contract, and the reason in words; nil where the input does not look like a picture.
    ///
    /// A guess is for known families only: what nothing speaks for is `unit` (x/255), and the reason says so.
    public static func guess(_ evidence: PreprocessingEvidence) -> (preprocessing: Preprocessing, reason: String)? {
        guard evidence.inputShape.count == 4, let layout = evidence.layout ?? layout(of: evidence.inputShape) else {
            return nil
        }
        let shape = evidence.inputShape
        let (height, width, depth) =
            layout == .nchw ? (shape[2], shape[3], shape[1]) : (shape[1], shape[2], shape[3])
        guard let depth, depth == 1 || depth == 3 else { return nil }
        let size = (height: height ?? 224, width: width ?? 224)
        let (preset, because) = family(evidence, isGray: depth == 1)
        guard
            var result = try? preset.preprocessing(
                height: size.height, width: size.width, channels: depth == 1 ? .gray : nil, layout: layout),
            evidence.elementType.isFloatingPoint || evidence.elementType.isInteger
        else { return nil }
        result.elementType = evidence.elementType
        let assumed =
            height == nil || width == nil
            ? "; the size is not fixed in the model, \(size.height) x \(size.width) is assumed" : ""
        return (result, "\(preset.name): \(because)\(assumed)")
    }

    private static func layout(of shape: [Int?]) -> Layout? {
        func isDepth(_ index: Int) -> Bool { shape[index] == 1 || shape[index] == 3 }
        if isDepth(1), !isDepth(3) { return .nchw }
        if isDepth(3), !isDepth(1) { return .nhwc }
        return isDepth(1) ? .nchw : nil
    }

    private static func family(_ evidence: PreprocessingEvidence, isGray: Bool) -> (PreprocessingPreset, String) {
        if evidence.elementType.isInteger { return (.raw, "the input takes integers") }
        let normalizing = ["Sub", "Div", "Mul", "Add", "BatchNormalization", "Rescaling", "Normalization"]
        if let first = evidence.firstOperators.first(where: normalizing.contains) {
            return (.raw, "the model normalises its input itself (\(first))")
        }
        if evidence.producer.lowercased().contains("cntk") { return (.raw, "models of CNTK take 0 to 255") }
        if isGray { return (.unit, "the input has one channel") }
        if evidence.producer.lowercased().contains("torch") {
            return (.torchvision, "the file was exported by PyTorch")
        }
        let names = evidence.layerNames.map { $0.lowercased() }
        for family in families where family.matches(names) {
            return (family.preset, "the names of its layers are those of \(family.name)")
        }
        return (.unit, "nothing in the file tells the family; set it if results are poor")
    }

    /// A family of Keras' applications, known by parts of layer names.
    private struct Family {
        let name: String
        let preset: PreprocessingPreset
        /// Parts of which one must occur.
        let parts: [String]
        /// Parts that must all occur.
        var also: [String] = []

        func matches(_ names: [String]) -> Bool {
            func occurs(_ part: String) -> Bool { names.contains { $0.contains(part) } }
            return parts.contains(where: occurs) && also.allSatisfy(occurs)
        }
    }

    // In order: the names of ResNet v2 contain those of v1, and those of Xception contain parts of VGG's.
    private static let families: [Family] = [
        Family(name: "MobileNet", preset: .tf, parts: ["mobilenet", "conv_dw_1", "expanded_conv_depthwise"]),
        Family(name: "Xception", preset: .tf, parts: ["xception", "block14_sepconv2"]),
        Family(name: "Inception", preset: .tf, parts: ["inception", "mixed10", "block35_1", "conv_7b"]),
        Family(name: "NASNet", preset: .tf, parts: ["nasnet", "stem_bn1"]),
        Family(name: "DenseNet", preset: .torch, parts: ["densenet", "conv2_block1_concat"]),
        Family(name: "ResNet v2", preset: .tf, parts: ["conv2_block1_preact"]),
        Family(name: "ResNet", preset: .caffe, parts: ["conv2_block1_1_conv", "res2a_branch2a"]),
        Family(name: "VGG", preset: .caffe, parts: ["block5_conv3"], also: ["block1_conv1"]),
    ]
}
