import GraftCore

/// The targets of arrays that are more than one class a sample.
enum ArrayTargets: Sendable {
    /// One class a sample.
    case classes
    /// 0 or 1 for each class: as many numbers a sample as there are classes.
    case labels([Float], width: Int)
    /// A class for each pixel: the numbers of all samples, and the shape of one.
    case pixels(Tensor, shape: [Int])

    var kind: TargetKind {
        switch self {
        case .classes: .classes
        case .labels: .labels
        case .pixels: .pixels
        }
    }

    /// The target of one sample; nil where it is its class.
    func target(at index: Int) throws -> Tensor? {
        switch self {
        case .classes: return nil
        case .labels(let marks, let width):
            return Tensor(Array(marks[(index * width)..<((index + 1) * width)]))
        case .pixels(let maps, let shape):
            let size = shape.reduce(1, *)
            return try maps.withBytes { bytes in
                let numbers = bytes.bindMemory(to: Int64.self)
                return Tensor(Array(numbers[(index * size)..<((index + 1) * size)]), shape: shape)
            }
        }
    }

    /// Reads an array of shape [samples, classes] or [samples, rows, columns]; an axis of length 1 for a channel is left
    /// out.
    static func read(
        _ array: Tensor, classes: [String]?, path: String
    ) throws -> (classNames: [String], labels: [Int], targets: ArrayTargets) {
        func failure(_ reason: String) -> DataSetError { .badArrays(path: path, reason: reason) }
        let count = array.shape[0]
        var shape = Array(array.shape.dropFirst())
        if shape.count == 3, let channel = [2, 0].first(where: { shape[$0] == 1 }) { shape.remove(at: channel) }
        guard shape.count <= 2 else {
            throw failure(
                "\"labels\" has shape \(array.shape); a number, a row of 0 and 1, or a map of classes a sample was expected"
            )
        }
        if shape.count == 1 { return try rows(array, count: count, width: shape[0], classes: classes, path: path) }
        guard array.elementType.isInteger || array.elementType == .bool,
            let maps = try ElementConversion.convert(array, to: .int64)
        else {
            throw failure("the maps of \"labels\" hold \(array.elementType.name); whole numbers were expected")
        }
        let size = shape.reduce(1, *)
        let bound = classes?.count ?? 1 << 16
        var greatest = 0
        var mains: [Int] = []
        try maps.withBytes { bytes in
            let numbers = bytes.bindMemory(to: Int64.self)
            for sample in 0..<count {
                var counts: [Int: Int] = [:]
                for value in numbers[(sample * size)..<((sample + 1) * size)] where value != Int64(Mask.ignored) {
                    guard value >= 0, value < Int64(bound) else {
                        throw failure(
                            "the map of sample \(sample) holds \(value); classes lie in 0..<\(bound), and "
                                + "\(Mask.ignored) stands for pixels that do not count")
                    }
                    counts[Int(value), default: 0] += 1
                }
                greatest = max(greatest, counts.keys.max() ?? 0)
                counts[0] = nil
                mains.append(counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 0)
            }
        }
        return (classes ?? (0...greatest).map { "\($0)" }, mains, .pixels(maps, shape: shape))
    }

    private static func rows(
        _ array: Tensor, count: Int, width: Int, classes: [String]?, path: String
    ) throws -> (classNames: [String], labels: [Int], targets: ArrayTargets) {
        guard let marks = try ElementConversion.convert(array, to: .float32)?.elements(as: Float.self),
            marks.allSatisfy({ $0 == 0 || $0 == 1 })
        else {
            throw DataSetError.badArrays(
                path: path, reason: "\"labels\" has shape \(array.shape), so it must hold 0 and 1 only")
        }
        if let classes, classes.count != width {
            throw DataSetError.badArrays(
                path: path, reason: "\"labels\" has \(width) columns for \(classes.count) classes")
        }
        return (
            classes ?? (0..<width).map { "\($0)" }, combinations(marks, width: width, count: count),
            .labels(marks, width: width)
        )
    }

    /// A number for each combination of classes, so that combinations are divided evenly.
    static func combinations(_ marks: [Float], width: Int, count: Int) -> [Int] {
        var numbers: [[Float]: Int] = [:]
        return (0..<count).map { sample in
            let row = Array(marks[(sample * width)..<((sample + 1) * width)])
            let number = numbers[row] ?? numbers.count
            numbers[row] = number
            return number
        }
    }
}
