import GraftCore

/// The values that outlive runs: parameters, moments, running statistics.
///
/// Sessions of several plans may share a store: a training step writes it, an evaluation reads it. Used by one thread
/// at a time.
public final class ParameterStore {
    private(set) var values: [String: RuntimeTensor] = [:]
    /// Counts the changes.
    private(set) var version = 0
    private let arena = Arena()

    /// An empty store.
    public init() {}

    /// The names of all values, sorted.
    public var names: [String] { values.keys.sorted() }

    /// Sets a value; the bytes are copied.
    ///
    /// - Throws: what reading a deferred tensor throws, ``RuntimeError/outOfMemory(bytes:)``.
    public func set(_ name: String, _ tensor: Tensor) throws {
        let buffer = try arena.allocate(tensor.byteCount)
        try tensor.withBytes { bytes in
            if let start = bytes.baseAddress { buffer.pointer.copyMemory(from: start, byteCount: bytes.count) }
        }
        values[name] = RuntimeTensor(tensor.elementType, tensor.shape, buffer: buffer)
        version += 1
    }

    /// A copy of a value; nil where there is none.
    public func tensor(_ name: String) throws -> Tensor? { try values[name].map { try Tensor(copying: $0) } }

    /// Whether there is a value of that name.
    public func contains(_ name: String) -> Bool { values[name] != nil }

    func take(_ name: String) -> RuntimeTensor? { values.removeValue(forKey: name) }

    func put(_ name: String, _ tensor: RuntimeTensor) { values[name] = tensor }

    func changed() { version += 1 }
}

extension Tensor {
    /// A copy of a row-major tensor of a run.
    init(copying tensor: RuntimeTensor) throws {
        let bytes = UnsafeRawBufferPointer(start: tensor.pointer, count: tensor.byteCount)
        try self.init(tensor.elementType, shape: tensor.shape, storage: .owned(ByteBuffer(copying: bytes)))
    }

    /// A row-major result of a run: in the block that it was computed in where it fills most of a large one, otherwise
    /// a copy.
    ///
    /// The block is not written while the result lives, and goes back to its arena with it.
    init(result tensor: RuntimeTensor) throws {
        let count = tensor.byteCount
        guard count >= 1 << 20, count >= tensor.buffer.capacity / 2, tensor.buffer.isWritable else {
            try self.init(copying: tensor)
            return
        }
        let bytes = UnsafeMutableRawBufferPointer(start: tensor.pointer, count: count)
        try self.init(
            tensor.elementType, shape: tensor.shape, storage: .owned(ByteBuffer(bytes, ownedBy: tensor.buffer)))
    }
}
