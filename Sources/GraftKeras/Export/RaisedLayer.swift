import GraftCore
import GraftIR
import OrderedCollections

/// A Keras layer that nodes of the IR become.
struct RaisedLayer {
    /// A weight with the stored tensor that it comes from.
    struct Weight {
        /// The last part of its name, such as `kernel`.
        let leaf: String
        let tensor: Tensor
        /// The value of the graph; nil for a weight that became something else when it was read.
        let value: ValueID?
    }

    var className: String
    var name: String
    var settings: OrderedDictionary<String, JSON>
    /// The tensors that each call takes.
    var calls: [[RaisedTensor]]
    var weights: [Weight] = []
    /// The shape of the output, batch first.
    var shape: [Int?]
}

/// A tensor of the Keras model and how a value of the graph lies in it.
struct RaisedTensor: Hashable {
    /// The layer and the call that makes it.
    let layer: Int
    let call: Int
    /// The shape in Keras, batch first.
    var shape: [Int?]
    var layout: TensorLayout

    /// The shape of the value.
    var storedShape: [Int?] {
        layout == .channelsFirst ? [shape[0], shape[3], shape[1], shape[2]] : shape
    }

    /// The axis of Keras that is an axis of the value; negative ones count from the end.
    func kerasAxis(_ axis: Int) -> Int? {
        let positive = axis < 0 ? axis + shape.count : axis
        guard shape.indices.contains(positive) else { return nil }
        return layout == .channelsFirst ? [0, 3, 1, 2][positive] : positive
    }
}

/// A family of operators: how nodes become Keras layers.
protocol RaisingFamily: Sendable {
    /// The operators of ONNX's own domain.
    static var operators: [String] { get }
    /// Makes layers of a node.
    static func raise(_ id: NodeID, _ raiser: inout LayerRaiser) throws
}

/// All families; a new file of operators adds its line here.
enum RaisingRegistry {
    static var families: [any RaisingFamily.Type] {
        [
            ActivationOperators.self, ArithmeticOperators.self, ConvolutionOperators.self, MatrixOperators.self,
            NormalizationOperators.self, PoolingOperators.self, ResizingOperators.self, ShapeOperators.self,
        ]
    }

    private static let indexOfOperator: [String: Int] = {
        var result: [String: Int] = [:]
        for (index, family) in families.enumerated() { for name in family.operators { result[name] = index } }
        return result
    }()

    /// The family of an operator; nil for one that no layer does.
    static func family(of op: OperatorName) -> (any RaisingFamily.Type)? {
        op.canonicalDomain.isEmpty ? indexOfOperator[op.type].map { families[$0] } : nil
    }
}
