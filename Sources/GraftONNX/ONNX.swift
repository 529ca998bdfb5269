import CProtobufC
import Glibc
import GraftCore
import GraftIR

/// Reading and writing of `.onnx` files, without loss.
public enum ONNX {
    /// Opens a model; the weights stay in the file until something asks for them.
    ///
    /// The file is mapped and must not be changed in place while the model lives; replacing it by rename is safe.
    /// - Parameters:
    ///   - path: the model's file; external data is looked for below its folder.
    ///   - limits: the bounds that the file is held to.
    /// - Throws: ``ONNXError`` where the file is no valid model, ``FileError`` where it cannot be opened.
    public static func read(path: String, limits: Limits = Limits()) throws -> Model {
        try ReadContext(file: MappedFile(path: path), limits: limits).model()
    }

    /// Writes a model; a file that is there is replaced at once or not at all.
    ///
    /// A model that was read and not changed gives the same message, byte for byte where the file was in protobuf's
    /// canonical order. External data is written before the model, into a file of its own beside it that is not there
    /// yet; a model that goes into the folder that its external data is in keeps referring to it.
    /// - Throws: ``ONNXError`` where the model holds what a file cannot, ``FileError`` where writing fails, and what
    ///   producing the bytes of a tensor throws.
    public static func write(_ model: Model, to path: String, options: ONNXWriteOptions = ONNXWriteOptions()) throws {
        let folder = AtomicFile.folder(of: path)
        var hasExternal = false
        var keepsExternal = true
        model.forEachStoredTensor { stored in
            guard case .external = stored.encoding else { return }
            hasExternal = true
            keepsExternal = keepsExternal && ExternalPlacement.isKept(stored, in: folder)
        }
        let dataName = freeDataName(for: options.destination ?? path)
        var mode: ExternalPlacement.Mode
        switch options.externalData {
        case .never: mode = .inline
        case .always: mode = .write(name: dataName, bound: options.externalDataThreshold)
        case .automatic: mode = !hasExternal || keepsExternal ? .keep : .write(name: dataName, bound: nil)
        }

        var context = WriteContext(path: path, placement: ExternalPlacement(mode))
        // The message points into the context's memory and into the model's buffers.
        defer { withExtendedLifetime((model, context)) {} }
        var message = try context.model(model)
        var size = packedSize(message)
        if size > options.messageBound, options.externalData == .automatic {
            mode = .write(name: dataName, bound: options.externalDataThreshold)
            context = WriteContext(path: path, placement: ExternalPlacement(mode))
            message = try context.model(model)
            size = packedSize(message)
        }
        guard size <= options.messageBound else { throw ONNXError.tooLarge(path: path, bytes: size) }

        let entries = context.placement.entries
        let dataPath = "\(folder)/\(dataName)"
        let durability = options.durability.forCompanion(of: path)
        if !entries.isEmpty { try writeData(entries, to: dataPath, durability: durability) }
        do {
            try AtomicFile.write(to: path, durability: durability) { writer in
                try writer.reserve(size)
                try PackBuffer(writer: writer, sources: context.sources).pack(message)
                guard writer.position == size else {
                    throw ONNXError.cannotWrite(
                        path: path, place: "the model", reason: "\(writer.position) bytes came out in place of \(size)")
                }
            }
        } catch {
            if !entries.isEmpty { unlink(dataPath) }
            throw error
        }
    }

    private static func packedSize<M: ProtoMessage>(_ message: UnsafeMutablePointer<M>) -> Int {
        UnsafeMutableRawPointer(message).withMemoryRebound(to: ProtobufCMessage.self, capacity: 1) {
            protobuf_c_message_get_packed_size($0)
        }
    }

    private static func writeData(
        _ entries: [ExternalPlacement.Entry], to path: String, durability: Durability
    ) throws {
        try AtomicFile.write(to: path, durability: durability) { writer in
            if let last = entries.last { try writer.reserve(last.offset + last.tensor.byteCount) }
            for entry in entries {
                try writer.writeZeros(entry.offset - writer.position)
                try writer.write(entry.tensor.storage)
                guard writer.position == entry.offset + entry.tensor.byteCount else {
                    throw ONNXError.cannotWrite(
                        path: path, place: "tensor \"\(entry.label)\"", reason: "its bytes are not as many as it says")
                }
            }
        }
    }

    /// A name for external data beside a model that no file has: an older model may still refer to older data.
    private static func freeDataName(for path: String) -> String {
        let folder = AtomicFile.folder(of: path)
        let name = path.split(separator: "/").last.map(String.init) ?? "model.onnx"
        var candidate = "\(name).data"
        var number = 1
        var status = stat()
        while lstat("\(folder)/\(candidate)", &status) == 0 {
            candidate = "\(name).data.\(number)"
            number += 1
        }
        return candidate
    }
}
