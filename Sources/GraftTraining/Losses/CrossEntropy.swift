/// The mean negative log-likelihood of the right class under a softmax of the outputs.
///
/// With label smoothing ε over K classes the target is (1 − ε)·onehot + ε/K.
public enum CrossEntropy: Loss {
    public static let name = "cross-entropy"
    public static let remark = "one class a sample"
    public static let options: [NamedOption] = [
        .number("label_smoothing", 0, in: 0...0.999, "how much of the target is spread over all classes")
    ]
}
