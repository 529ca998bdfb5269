import GraftCore

/// What there is to learn about a sample.
public enum TargetKind: String, Sendable, CaseIterable {
    /// One class: a whole number.
    case classes
    /// Any number of classes: 0 or 1 for each.
    case labels
    /// A class for each pixel.
    case pixels

    /// The kind in words.
    public var summary: String {
        switch self {
        case .classes: "one class a sample"
        case .labels: "0 or 1 for each class"
        case .pixels: "a class for each pixel"
        }
    }
}

extension DataSet {
    /// Most data sets have one class a sample.
    public var targetKind: TargetKind { .classes }

    /// The class as a tensor.
    public func target(at index: Int, as view: SampleView) throws -> Tensor {
        Tensor(scalar: Int64(label(at: index)))
    }
}
