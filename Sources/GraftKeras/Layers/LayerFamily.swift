import GraftCore
import GraftIR

/// A family of Keras layers: how each class becomes nodes of the IR.
protocol LayerFamily: Sendable {
    /// The classes, as `class_name` spells them.
    static var classNames: [String] { get }

    /// Emits the nodes of one call of a layer.
    ///
    /// - Returns: the outputs of the call.
    static func lower(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> [ImportedTensor]
}

/// All families; a new file of layers adds its line here.
enum LayerRegistry {
    private static var families: [any LayerFamily.Type] {
        [
            ActivationLayers.self, ConvolutionLayers.self, DenseLayers.self, FunctionLayers.self, MergingLayers.self,
            NormalizationLayers.self, PaddingLayers.self, PoolingLayers.self, RegularizationLayers.self,
            ReshapingLayers.self, UpsamplingLayers.self,
        ]
    }

    private static let indexOfClass: [String: Int] = {
        var result: [String: Int] = [:]
        for (index, family) in families.enumerated() { for name in family.classNames { result[name] = index } }
        return result
    }()

    /// The family of a class; nil for one that is not covered.
    static func family(of className: String) -> (any LayerFamily.Type)? {
        indexOfClass[className].map { families[$0] }
    }
}

extension LayerFamily {
    /// The one input of a layer.
    static func single(_ layer: LayerConfig, _ inputs: [ImportedTensor], rank: Int? = nil) throws -> ImportedTensor {
        guard inputs.count == 1, rank == nil || inputs[0].rank == rank else {
            throw layer.unsupported(
                "it takes \(inputs.count) inputs\(inputs.first.map { " of rank \($0.rank)" } ?? ""), expected one"
                    + (rank.map { " of rank \($0)" } ?? ""))
        }
        return inputs[0]
    }

    /// The one input of a layer on images, with its channels first in the IR whatever they are in Keras.
    static func image(
        _ layer: LayerConfig, _ inputs: [ImportedTensor], _ builder: inout GraphBuilder
    ) throws -> ImportedTensor {
        let input = try single(layer, inputs, rank: 4)
        return layer.isChannelsLast ? builder.channelsFirst(input) : builder.plain(input)
    }

    /// The result of a layer on images, from a value with its channels first.
    static func imageResult(_ layer: LayerConfig, _ value: ValueID, _ shape: [Int?]) -> ImportedTensor {
        layer.isChannelsLast
            ? ImportedTensor(
                value: value, shape: [shape[0], shape[2], shape[3], shape[1]], layout: .channelsFirst)
            : ImportedTensor(value: value, shape: shape, layout: .plain)
    }
}
