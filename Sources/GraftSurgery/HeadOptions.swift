import GraftCore

/// The classes of a new head.
public enum HeadClasses: Sendable, Equatable {
    /// That many, without names.
    case count(Int)
    /// One for each name.
    case names([String])

    /// How many.
    public var count: Int {
        switch self {
        case .count(let count): count
        case .names(let names): names.count
        }
    }
    /// The names, where there are some.
    public var names: [String]? { if case .names(let names) = self { names } else { nil } }
}

/// Where the weights of a new head start.
public enum HeadInitialization: Sendable {
    /// Uniform in ±1/√features: what PyTorch's linear layers start from (Kaiming with a = √5).
    case kaiming
    /// Uniform in ±√(6 / (features + classes)): Glorot's, which Keras' dense layers start from.
    case xavier
    /// Normal with a standard deviation.
    case normal(Double)
    /// Zeros: every class has the same score until training starts.
    case zeros
    /// The nearest class mean of given features, as a linear classifier.
    case means(FeatureStatistics)
    /// The least-squares fit of given features to the classes, with a ridge penalty.
    case ridge(FeatureStatistics, penalty: Double)

    /// The name, as commands and histories write it.
    public var name: String {
        switch self {
        case .kaiming: "kaiming"
        case .xavier: "xavier"
        case .normal: "normal"
        case .zeros: "zeros"
        case .means: "means"
        case .ridge: "ridge"
        }
    }
}

/// Where the biases of a new head start, where the weights' initialization does not say.
public enum HeadBias: Sendable, Equatable {
    /// Zeros.
    case zeros
    /// The logarithms of the classes' frequencies, given as counts.
    case logPrior([Int])
}

/// What stands between the scores of a new head and the output.
public enum HeadActivation: String, Sendable, CaseIterable {
    /// What the model has: softmax stays, none stays none.
    case same
    /// Nothing: the output gives scores.
    case none
    /// Softmax: one class a sample.
    case softmax
    /// Sigmoid: each class for itself.
    case sigmoid
}

/// What a new head is to be.
public struct HeadOptions: Sendable {
    /// The classes.
    public var classes: HeadClasses
    /// The name of the node, layer or value to replace; nil to find it.
    public var place: String?
    /// Where weights start.
    public var initialization: HeadInitialization = .kaiming
    /// Where biases start.
    public var bias: HeadBias = .zeros
    /// Whether classes that keep their names keep their weights.
    public var keepsNamedClasses = false
    /// The names of the present classes, where the model does not say them.
    public var presentLabels: [String]?
    /// The width of a hidden layer with ReLU before the classifier; nil for none.
    public var hidden: Int?
    /// The share of features that training drops before the classifier; nil for no dropout.
    public var dropout: Double?
    /// What stands between the scores and the output.
    public var activation: HeadActivation = .same
    /// The seed of random weights.
    public var seed: UInt64 = 0
    /// The preprocessing contract that the file is to state; nil to leave what it says.
    public var preprocessing: JSON?

    /// A head for some classes.
    public init(classes: HeadClasses, place: String? = nil) {
        self.classes = classes
        self.place = place
    }

    /// The options as a model's history writes them.
    var details: JSON {
        var result: JSON = [
            "classes": JSON(classes.count), "init": JSON(initialization.name),
            "seed": JSON(Int(truncatingIfNeeded: seed)),
        ]
        if keepsNamedClasses { result["keep"] = true }
        if let hidden { result["hidden"] = JSON(hidden) }
        if let dropout { result["dropout"] = JSON(dropout) }
        return result
    }
}

/// Why a head cannot be replaced.
public enum HeadSwapError: GraftError, Equatable {
    /// The number of classes is not possible.
    case classes(String)
    /// An option does not fit.
    case option(String)
    /// Given features do not fit the head.
    case features(String)
    /// The part of the graph after the scores cannot follow.
    case tail(node: String, reason: String)
    /// Classes are to be kept, but their names are not known.
    case noLabels

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus {
        switch self {
        case .classes, .option: .usage
        default: .badInput
        }
    }
    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .classes(let reason): "the classes are not possible: \(reason)"
        case .option(let reason): reason
        case .features(let reason): "the given features do not fit the head: \(reason)"
        case .tail(let node, let reason): "node \"\(node)\" after the classifier cannot follow: \(reason)"
        case .noLabels:
            "classes cannot be kept by name: the model does not say what its classes are; give the names of the present "
                + "classes in a file, or leave out --keep"
        }
    }
}
