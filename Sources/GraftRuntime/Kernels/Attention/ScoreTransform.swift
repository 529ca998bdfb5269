import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// What a model of classical machine learning does to the scores of one row.
enum ScoreTransform: String {
    case none = "NONE"
    case logistic = "LOGISTIC"
    case softmax = "SOFTMAX"
    /// A softmax that leaves scores of zero at zero's share.
    case softmaxZero = "SOFTMAX_ZERO"
    case probit = "PROBIT"

    /// The transform that the attribute `post_transform` names.
    ///
    /// - Throws: ``KernelFailure`` for an unknown name.
    init(_ attributes: Attributes) throws {
        let name = attributes.string("post_transform") ?? "NONE"
        guard let known = ScoreTransform(rawValue: name) else {
            throw KernelFailure("post_transform is \"\(name)\"")
        }
        self = known
    }

    /// Transforms the scores of a row in place.
    func apply(_ scores: UnsafeMutablePointer<Float>, _ count: Int) {
        guard count > 0 else { return }
        switch self {
        case .none: break
        case .logistic: for index in 0..<count { scores[index] = Self.logistic(scores[index]) }
        case .probit: for index in 0..<count { scores[index] = Self.probit(scores[index]) }
        case .softmax:
            let largest = Self.largest(scores, count)
            var sum: Float = 0
            for index in 0..<count {
                scores[index] = expf(scores[index] - largest)
                sum += scores[index]
            }
            for index in 0..<count { scores[index] /= sum }
        case .softmaxZero:
            let largest = Self.largest(scores, count)
            let zero = expf(-largest)
            var sum: Float = 0
            for index in 0..<count {
                if abs(scores[index]) > 1e-7 {
                    scores[index] = expf(scores[index] - largest)
                    sum += scores[index]
                } else {
                    scores[index] *= zero
                }
            }
            for index in 0..<count { scores[index] /= sum }
        }
    }

    private static func largest(_ scores: UnsafeMutablePointer<Float>, _ count: Int) -> Float {
        var largest = -Float.greatestFiniteMagnitude
        for index in 0..<count where scores[index] > largest { largest = scores[index] }
        return largest
    }

    /// The logistic function, exact on both sides of zero.
    static func logistic(_ x: Float) -> Float {
        let half = 1 / (1 + expf(-abs(x)))
        return x < 0 ? 1 - half : half
    }

    /// The quantile of the normal distribution in Winitzki's approximation, which is what the operators are defined by.
    static func probit(_ x: Float) -> Float {
        let signed = 2 * x - 1
        let log = logf((1 - signed) * (1 + signed))
        let a: Float = 0.147
        let half = 2 / (3.14159 * a) + 0.5 * log
        let root = (half * half - log / a).squareRoot() - half
        return 1.414_213_56 * (signed < 0 ? -1 : 1) * root.squareRoot()
    }
}

/// The names of a classifier's classes.
enum ClassLabels {
    case integers([Int64])
    case texts([[UInt8]])

    /// The classes that the attributes name: texts where there are some, else whole numbers.
    init(_ attributes: Attributes, integers name: String) throws {
        if case .strings(let texts)? = attributes["classlabels_strings"], !texts.isEmpty {
            self = .texts(texts)
        } else if case .ints(let values)? = attributes[name], !values.isEmpty {
            self = .integers(values)
        } else {
            throw KernelFailure("neither classlabels_strings nor \(name) names a class")
        }
    }

    var count: Int {
        switch self {
        case .integers(let values): values.count
        case .texts(let values): values.count
        }
    }

    /// Sets an output to the labels of the classes that were chosen; where the model names a single class or none fits
    /// a yes or no, the labels are 0 and 1.
    func set(_ context: KernelContext, _ output: Int, _ chosen: UnsafePointer<Int32>, _ rows: Int, isYesNo: Bool) throws
    {
        switch self {
        case .integers(let values):
            let labels = isYesNo && values.count != 2 ? [0, 1] : values
            let y = try context.output(output, .int64, [rows])
            for row in 0..<rows { y.int64s[row] = labels[Int(chosen[row])] }
        case .texts(let values):
            let labels = isYesNo && values.count != 2 ? [Array("0".utf8), Array("1".utf8)] : values
            let elements = (0..<rows).map { labels[Int(chosen[$0])] }
            context.set(output, .strings(StringTensor(shape: [rows], elements: elements)))
        }
    }
}

extension KernelContext {
    /// An input of one or two axes as rows of 32-bit floating-point numbers.
    func featureRows(_ index: Int = 0) throws -> (tensor: RuntimeTensor, rows: Int, columns: Int) {
        let tensor = try cast(plain(index), .float32)
        let (rows, columns) = try Self.rowsAndColumns(tensor.shape)
        return (tensor, rows, columns)
    }

    /// The rows and columns of a shape of one or two axes; one axis is one row.
    static func rowsAndColumns(_ shape: [Int]) throws -> (rows: Int, columns: Int) {
        switch shape.count {
        case 1: return (1, shape[0])
        case 2: return (shape[0], shape[1])
        default: throw KernelFailure("the shape \(shape) is not that of rows of features")
        }
    }
}
