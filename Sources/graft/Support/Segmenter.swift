import GraftCore
import GraftData
import GraftIR
import GraftRuntime

/// A model that tells the class of each pixel, ready to be asked.
struct Segmenter {
    private let session: Session
    private let output: String
    private let contract: Preprocessing
    private let classes: Int?

    /// Plans a model; nil where its output is no map.
    init?(_ model: Model, contract: Preprocessing) throws {
        let head = try LayerTree(model).head
        guard let value = head?.output ?? model.graph.outputs.first,
            let shape = try Inference.inferTypes(of: model).shape(of: value),
            shape.rank == 4 && shape.dimensions.dropFirst().filter({ $0.count != 1 }).count > 1
                || shape.rank == 3 && head?.kind == .pixel
        else { return nil }
        var options = PlanOptions()
        options.outputs = [value]
        session = try Session(Plan(model, options: options))
        output = model.graph[value].name
        classes = head?.classCount
        self.contract = contract
    }

    /// The class of each pixel of a picture, at the picture's size; ``Mask/ignored`` where the model did not look.
    func mask(of image: Image, input: String) throws -> Image {
        guard let scores = try session.run([input: contract.tensor(of: image)])[output] else {
            throw SegmenterError.noMap("the model gives no \(output)")
        }
        let map = try classMap(scores)
        let sized = map.resized(width: contract.width, height: contract.height, filter: .nearest)
        return contract.restored(mask: sized, width: image.width, height: image.height)
    }

    private func classMap(_ scores: Tensor) throws -> Image {
        let shape = scores.shape
        guard shape.first == 1, shape.count >= 3, scores.count > 0 else {
            throw SegmenterError.noMap("the output has the shape \(shape)")
        }
        let numbers = try scores.floats()
        if shape.count == 3 {
            // The model has chosen the classes itself.
            return Image(
                width: shape[2], height: shape[1], channels: 1, pixels: numbers.map { UInt8(max(0, min(254, $0))) })
        }
        let isLast = contract.layout == .nhwc && (classes == nil || shape[3] == classes)
        let (count, height, width) = isLast ? (shape[3], shape[1], shape[2]) : (shape[1], shape[2], shape[3])
        guard count <= Mask.ignored else {
            throw SegmenterError.noMap("\(count) classes do not fit a mask of 8 bits")
        }
        let (classStep, pixelStep) = isLast ? (1, count) : (height * width, 1)
        var pixels = [UInt8](repeating: 0, count: height * width)
        for position in pixels.indices {
            // One score a pixel is that of a single class against none.
            var best = count == 1 && numbers[position] > 0 ? 1 : 0
            for c in 1..<max(count, 1) {
                let start = position * pixelStep
                if numbers[start + c * classStep] > numbers[start + best * classStep] { best = c }
            }
            pixels[position] = UInt8(best)
        }
        return Image(width: width, height: height, channels: 1, pixels: pixels)
    }
}

/// Why a model's output is no mask.
enum SegmenterError: GraftError {
    case noMap(String)

    var exitStatus: ExitStatus { .badInput }
    var description: String {
        switch self {
        case .noMap(let reason): "the model's output is no map of classes: \(reason)"
        }
    }
}
