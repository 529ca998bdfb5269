import GraftCore
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// SVMClassifier and SVMRegressor.
///
/// Source of the formulas: C.-C. Chang and C.-J. Lin, "LIBSVM: A Library for Support Vector Machines" (2011).
enum SupportVectorKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [
            KernelDefinition("SVMClassifier", domain: classicalDomain) { try SupportVectorClassifier($0) },
            .function(
                "SVMRegressor", domain: classicalDomain, prepare: { try Regressor($0) }, run: { try $0.run($1) }),
        ]
    }

    private struct Regressor {
        let machine: SupportVectors
        let coefficients: [Float]
        let bias: Float
        let isLinear: Bool
        let isOneClass: Bool

        init(_ node: KernelNode) throws {
            let supports = node.attributes.int("n_supports") ?? 0
            coefficients = node.attributes.floats("coefficients") ?? []
            bias = node.attributes.floats("rho")?.first ?? 0
            isOneClass = node.attributes.int("one_class") ?? 0 != 0
            guard try ScoreTransform(node.attributes) == .none else {
                throw KernelFailure("a post_transform of one score")
            }
            isLinear = supports <= 0
            if !isLinear {
                machine = try SupportVectors(node.attributes, vectors: supports)
                guard coefficients.count == supports else {
                    throw KernelFailure("\(coefficients.count) coefficients for \(supports) support vectors")
                }
            } else {
                machine = SupportVectors(linear: coefficients, vectors: 1)
            }
        }

        func run(_ context: KernelContext) throws {
            let (x, rows, columns) = try context.featureRows()
            try machine.check(columns: columns)
            let y = try context.output(0, .float32, [rows, 1])
            let (source, target) = (x.floats, y.floats)
            Parallel.forEachRange(rows, grain: machine.grain) { range in
                for row in range {
                    var sum: Float = 0
                    for vector in 0..<machine.count {
                        let value = machine.kernel(source + row * columns, vector)
                        sum += isLinear ? value : value * coefficients[vector]
                    }
                    sum += bias
                    target[row] = isOneClass ? (sum > 0 ? 1 : -1) : sum
                }
            }
        }
    }
}

/// Vectors and the kernel function that compares features with them.
struct SupportVectors {
    private enum Function: String { case linear = "LINEAR", poly = "POLY", rbf = "RBF", sigmoid = "SIGMOID" }

    let count: Int
    let length: Int
    private let function: Function
    private let (gamma, offset, degree): (Float, Float, Float)
    private let values: [Float]

    /// The vectors and the kernel that the attributes describe.
    init(_ attributes: Attributes, vectors: Int) throws {
        let name = attributes.string("kernel_type") ?? "LINEAR"
        guard let function = Function(rawValue: name) else { throw KernelFailure("kernel_type is \"\(name)\"") }
        let parameters = attributes.floats("kernel_params") ?? []
        guard parameters.isEmpty || parameters.count == 3 else {
            throw KernelFailure("kernel_params has \(parameters.count) numbers; there must be 3")
        }
        self.function = function
        (gamma, offset, degree) = parameters.isEmpty ? (0, 0, 0) : (parameters[0], parameters[1], parameters[2])
        values = attributes.floats("support_vectors") ?? []
        guard vectors > 0, values.count % vectors == 0 else {
            throw KernelFailure("\(values.count) numbers are not \(vectors) support vectors")
        }
        count = vectors
        length = values.count / vectors
    }

    /// Rows of coefficients that features are multiplied with.
    init(linear coefficients: [Float], vectors: Int) {
        (function, gamma, offset, degree) = (.linear, 0, 0, 0)
        values = coefficients
        count = vectors
        length = coefficients.count / max(1, vectors)
    }

    /// How many rows are worth a thread.
    var grain: Int { max(1, 16384 / max(1, values.count)) }

    func check(columns: Int) throws {
        guard columns == length else { throw KernelFailure("rows of \(columns) features for vectors of \(length)") }
    }

    /// The kernel function of a row of features and a vector.
    func kernel(_ row: UnsafePointer<Float>, _ vector: Int) -> Float {
        values.withUnsafeBufferPointer { values in
            var sum: Float = 0
            let start = vector * length
            if function == .rbf {
                for index in 0..<length {
                    let difference = row[index] - values[start + index]
                    sum += difference * difference
                }
                return expf(-gamma * sum)
            }
            for index in 0..<length { sum += row[index] * values[start + index] }
            switch function {
            case .linear, .rbf: return sum
            case .poly: return power(gamma * sum + offset, degree)
            case .sigmoid: return tanhf(gamma * sum + offset)
            }
        }
    }
}
