import GraftCore
import GraftIR
import GraftKeras

/// Full Keras models in HDF5, of Keras 2 and 3.
public enum KerasH5Format: ModelFormat {
    public static var name: String { "keras-h5" }
    public static var summary: String { "full Keras model in HDF5 (.h5) of Keras 2 or 3" }
    public static var extensions: [String] { ["h5", "hdf5"] }

    /// The signature of an HDF5 file (HDF5 File Format Specification, section II.A).
    private static let signature: [UInt8] = [0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A]

    public static func recognizes(_ start: UnsafeRawBufferPointer, path: String) -> Bool {
        start.starts(with: signature)
    }

    public static func read(path: String, limits: Limits) throws -> Model {
        try KerasH5.read(path: path, limits: limits)
    }

    public static func checkWritable(_ model: Model) throws { try KerasH5.checkWritable(model) }

    public static func write(_ model: Model, to path: String, options: WriteOptions) throws -> [String] {
        guard !options.concernsExternalData else { throw ModelFormatError.noExternalData(name) }
        return try KerasH5.write(model, to: path, durability: options.durability)
    }
}
