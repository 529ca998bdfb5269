/// The mean negative log-likelihood of the right class under a softmax of the outputs.
///
/// With label smoothing ε over K classes the target is (1 − ε)·onehot + ε/K.
package enum CrossEntropy: Loss {
    package static let name = "cross-entropy"
    package static let remark = "one class a sample"
    package static let options: [NamedOption] = [
        .number("label_smoothing", 0, in: 0...0.999, "how much of the target is spread over all classes")
    ]
}
