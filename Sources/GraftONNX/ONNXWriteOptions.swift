import GraftCore

/// How a model is written as an ONNX file.
public struct ONNXWriteOptions: Sendable, Equatable {
    /// Where the weights go.
    public enum ExternalData: Sendable, Equatable {
        /// Each where it was; beside the model where the file would otherwise pass protobuf's bound of 2 GiB.
        case automatic
        /// Beside the model, in `<name>.onnx.data`.
        case always
        /// In the model's own file.
        case never
    }

    /// Where the weights go.
    public var externalData: ExternalData
    /// Tensors of fewer bytes stay in the model's file, unless they were external.
    public var externalDataThreshold: Int
    /// Where the file goes once it is checked; data beside it takes a name that is free there.
    package var destination: String?
    /// What a power failure may take away of the file and of the data beside it.
    public var durability = Durability.synced
    /// The most bytes that the model's file may have.
    package var messageBound = Int(Int32.max)

    /// Options of a write.
    public init(externalData: ExternalData = .automatic, externalDataThreshold: Int = 1024) {
        self.externalData = externalData
        self.externalDataThreshold = externalDataThreshold
    }
}
