import COnnxProto
import CProtobufC
import GraftCore
import GraftIR

/// What every part of a read needs: the file, its name for messages, the limits, and the files beside it.
final class ReadContext {
    let path: String
    let file: MappedFile
    let limits: Limits
    let external: ExternalFiles
    /// What tells references of the skeleton from numbers of the file.
    let nonce = UInt64.random(in: 0 ... .max)

    init(file: MappedFile, limits: Limits) {
        path = file.path
        self.file = file
        self.limits = limits
        external = ExternalFiles(modelPath: file.path)
    }

    /// A field that holds text.
    func text(
        _ data: ProtobufCBinaryData, _ field: String, of place: @autoclosure () -> String
    ) throws(ONNXError) -> String {
        guard data.len > 0 else { return "" }
        guard let text = String(validating: UnsafeBufferPointer(start: data.data, count: data.len), as: UTF8.self)
        else { throw .invalidText(path: path, place: place(), field: field) }
        return text
    }

    /// A field that holds a list of texts.
    func texts(
        _ data: UnsafeMutablePointer<ProtobufCBinaryData>?, _ count: Int, _ field: String,
        of place: @autoclosure () -> String
    ) throws(ONNXError) -> [String] {
        var texts: [String] = []
        texts.reserveCapacity(count)
        for entry in UnsafeBufferPointer(start: data, count: count) {
            texts.append(try text(entry, field, of: place()))
        }
        return texts
    }

    /// Named texts.
    func metadata(
        _ entries: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__StringStringEntryProto>?>?, _ count: Int,
        _ field: String, of place: @autoclosure () -> String
    ) throws(ONNXError) -> Metadata {
        var metadata = Metadata()
        for case let entry? in UnsafeBufferPointer(start: entries, count: count) {
            let message = entry.pointee
            var carried = Carried(fields: residual(message))
            carried.note(1, message.has_key, message.key)
            carried.note(2, message.has_value, message.value)
            metadata.entries.append(
                Metadata.Entry(
                    key: try text(message.key, "\(field).key", of: place()),
                    value: try text(message.value, "\(field).value", of: place()), carried: carried))
        }
        return metadata
    }

    /// Operator versions.
    func opsets(
        _ entries: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__OperatorSetIdProto>?>?, _ count: Int,
        of place: @autoclosure () -> String
    ) throws(ONNXError) -> [OpsetImport] {
        var opsets: [OpsetImport] = []
        for case let entry? in UnsafeBufferPointer(start: entries, count: count) {
            let message = entry.pointee
            var carried = Carried(fields: residual(message))
            carried.note(1, message.has_domain, message.domain)
            carried.note(2, message.has_version, message.version)
            opsets.append(
                OpsetImport(
                    domain: try text(message.domain, "opset_import.domain", of: place()),
                    version: Int(message.version), carried: carried))
        }
        return opsets
    }

    /// The place in the file that a field of the skeleton stands for; nil where the field holds its own bytes.
    func range(of start: UnsafeRawPointer?, count: Int) -> Range<Int>? {
        FileReference(UnsafeRawBufferPointer(start: start, count: count), nonce: nonce).flatMap {
            Checked.range(offset: $0.range.lowerBound, count: $0.range.count, within: file.count)
        }
    }

    /// The place of a tensor's `raw_data`.
    func range(of data: ProtobufCBinaryData) -> Range<Int>? { range(of: UnsafeRawPointer(data.data), count: data.len) }
}

extension Carried {
    /// Notes a text that the file spells out although it is empty.
    mutating func note(_ field: Int, _ isPresent: protobuf_c_boolean, _ text: ProtobufCBinaryData) {
        if isPresent != 0, text.len == 0 { markExplicit(field) }
    }

    /// Notes a number that the file spells out although it is zero.
    mutating func note(_ field: Int, _ isPresent: protobuf_c_boolean, _ number: some BinaryInteger) {
        if isPresent != 0, number == 0 { markExplicit(field) }
    }
}
