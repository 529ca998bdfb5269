/// Reads of little-endian integers at any alignment, within bounds.
struct LittleEndian {
    let bytes: UnsafeRawBufferPointer

    /// The 16-bit number at `offset`, or nil where it does not lie within the bytes.
    func u16(_ offset: Int) -> UInt16? { load(offset) }

    /// The 32-bit number at `offset`, or nil where it does not lie within the bytes.
    func u32(_ offset: Int) -> UInt32? { load(offset) }

    /// The 64-bit number at `offset` where it fits `Int`, or nil.
    func int64(_ offset: Int) -> Int? {
        guard let value: UInt64 = load(offset) else { return nil }
        return Int(exactly: value)
    }

    private func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int) -> T? {
        let size = MemoryLayout<T>.size
        guard offset >= 0, bytes.count >= size, offset <= bytes.count - size else { return nil }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
