import Glibc
import GraftCore
import GraftIR
import GraftONNX
import GraftTestSupport

/// The bytes of a file.
func bytes(of path: String) throws -> [UInt8] {
    let file = try MappedFile(path: path)
    return withExtendedLifetime(file) { Array(file.bytes) }
}

/// Writes bytes to a file without ceremony.
func put(_ bytes: [UInt8], at path: String) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    defer { close(descriptor) }
    var sent = 0
    while sent < bytes.count {
        sent += max(0, bytes[sent...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) })
    }
}

/// A folder in memory where there is one: syncing thousands of files to a disk takes minutes.
func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    var template = Array("/dev/shm/graft-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { return try Fixtures.withTemporaryFolder(body) }
    let folder = String(cString: made)
    defer {
        for name in ["model.onnx", "written.onnx"] { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }
    return try body(folder)
}

/// The model in some bytes.
func model(in bytes: [UInt8], limits: Limits = Limits()) throws -> Model {
    try withFolder { folder throws in
        put(bytes, at: "\(folder)/model.onnx")
        return try ONNX.read(path: "\(folder)/model.onnx", limits: limits)
    }
}

/// What writing a model gives.
func written(_ model: Model, options: ONNXWriteOptions = ONNXWriteOptions()) throws -> [UInt8] {
    try withFolder { folder throws in
        try ONNX.write(model, to: "\(folder)/written.onnx", options: options)
        return try bytes(of: "\(folder)/written.onnx")
    }
}

/// Builds messages in protobuf's wire format by hand.
enum Wire {
    static func varint(_ value: UInt64) -> [UInt8] {
        var value = value
        var out: [UInt8] = []
        while value > 127 {
            out.append(UInt8(value & 127) | 128)
            value >>= 7
        }
        return out + [UInt8(value)]
    }

    static func number(_ field: UInt64, _ value: UInt64) -> [UInt8] { varint(field << 3) + varint(value) }
    static func block(_ field: UInt64, _ content: [UInt8]) -> [UInt8] {
        varint(field << 3 | 2) + varint(UInt64(content.count)) + content
    }
    static func text(_ field: UInt64, _ content: String) -> [UInt8] { block(field, Array(content.utf8)) }

    /// A model around the fields of its graph.
    static func model(graph: [UInt8]) -> [UInt8] { number(1, 8) + block(7, graph) + block(8, number(2, 17)) }

    /// A float tensor in `raw_data`.
    static func tensor(_ name: String, dims: [UInt64], raw: [UInt8]) -> [UInt8] {
        dims.flatMap { number(1, $0) } + number(2, 1) + text(8, name) + block(9, raw)
    }
}

/// The exit status and message of what a body throws; nil where it throws nothing or an error of no domain.
func failure(_ body: () throws -> Void) -> (status: ExitStatus, message: String)? {
    do {
        try body()
        return nil
    } catch let error as any GraftError {
        return (error.exitStatus, error.description)
    } catch {
        return nil
    }
}
