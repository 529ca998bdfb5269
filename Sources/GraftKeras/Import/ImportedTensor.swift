import GraftCore
import GraftIR

/// How the axes or elements of a Keras tensor lie in the IR.
enum TensorLayout: Hashable, Sendable {
    /// As in Keras.
    case plain
    /// A Keras tensor `[N, H, W, C]` is `[N, C, H, W]` in the IR.
    case channelsFirst
    /// A Keras tensor `[N, H * W * C]` is `[N, C * H * W]` in the IR.
    case flattened(height: Int, width: Int, channels: Int)
}

/// A tensor of the Keras model and the value of the graph that holds it.
struct ImportedTensor: Sendable {
    var value: ValueID
    /// The shape in Keras, batch first; nil for an extent that is not known.
    var shape: [Int?]
    var layout: TensorLayout

    var rank: Int { shape.count }

    /// The shape in the IR.
    var storedShape: [Int?] {
        layout == .channelsFirst ? [shape[0], shape[3], shape[1], shape[2]] : shape
    }

    /// The axis of the IR that is an axis of Keras; negative ones count from the end.
    func storedAxis(_ axis: Int) -> Int? {
        let positive = axis < 0 ? axis + rank : axis
        guard (0..<rank).contains(positive) else { return nil }
        return layout == .channelsFirst ? [0, 2, 3, 1][positive] : positive
    }
}
