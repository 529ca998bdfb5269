import CProtobufC
import GraftCore

extension FileWriter {
    /// Appends the bytes of a tensor in bounded memory: mapped pages are dropped once they are written, deferred bytes
    /// live only while they are.
    func write(_ storage: TensorStorage) throws {
        switch storage {
        case .mapped(let file, let range): try write(file, range)
        case .owned(let buffer): try withExtendedLifetime(buffer) { try write(buffer.bytes) }
        case .deferred(let bytes):
            let buffer = try bytes.load()
            guard buffer.count == bytes.byteCount else {
                throw TensorError.byteCountMismatch(
                    type: .uint8, shape: [bytes.byteCount], expected: bytes.byteCount, actual: buffer.count)
            }
            try withExtendedLifetime(buffer) { try write(buffer.bytes) }
        case .strings: break
        }
    }
}

/// Lets protobuf-c write a message straight into a file.
final class PackBuffer {
    /// What protobuf-c calls; the base comes first, so a pointer to one is a pointer to the other.
    private struct Target {
        var base: ProtobufCBuffer
        var owner: UnsafeMutableRawPointer
    }

    private let writer: FileWriter
    private let sources: [UnsafeRawPointer: TensorStorage]
    // protobuf-c cannot stop half way, so the first failure is kept and what follows is dropped.
    private var failure: (any Error)?

    init(writer: FileWriter, sources: [UnsafeRawPointer: TensorStorage]) {
        self.writer = writer
        self.sources = sources
    }

    /// Writes a message; data pointers that stand for a tensor's bytes are followed by those.
    func pack<M: ProtoMessage>(_ message: UnsafeMutablePointer<M>) throws {
        try withExtendedLifetime(self) {
            var target = Target(
                base: ProtobufCBuffer(append: { buffer, count, data in
                    guard let buffer else { return }
                    let target = UnsafeMutableRawPointer(buffer).assumingMemoryBound(to: Target.self)
                    let owner = Unmanaged<PackBuffer>.fromOpaque(target.pointee.owner).takeUnretainedValue()
                    owner.append(UnsafeRawBufferPointer(start: data, count: count))
                }), owner: Unmanaged.passUnretained(self).toOpaque())
            withUnsafeMutablePointer(to: &target) { target in
                UnsafeMutableRawPointer(message).withMemoryRebound(to: ProtobufCMessage.self, capacity: 1) { message in
                    _ = protobuf_c_message_pack_to_buffer(
                        message, UnsafeMutableRawPointer(target).assumingMemoryBound(to: ProtobufCBuffer.self))
                }
            }
            if let failure { throw failure }
        }
    }

    private func append(_ bytes: UnsafeRawBufferPointer) {
        guard failure == nil, let start = bytes.baseAddress else { return }
        do {
            if let source = sources[start], source.byteCount == bytes.count {
                try writer.write(source)
            } else {
                try writer.write(bytes)
            }
        } catch {
            failure = error
        }
    }
}

extension TensorStorage {
    fileprivate var byteCount: Int {
        switch self {
        case .mapped(_, let range): range.count
        case .owned(let buffer): buffer.count
        case .deferred(let bytes): bytes.byteCount
        case .strings: 0
        }
    }
}
