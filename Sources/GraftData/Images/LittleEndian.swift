/// Reads of little-endian integers within bounds.
struct LittleEndian {
    let bytes: UnsafeRawBufferPointer

    func u8(_ offset: Int) -> Int? { offset >= 0 && offset < bytes.count ? Int(bytes[offset]) : nil }

    func u16(_ offset: Int) -> Int? {
        guard offset >= 0, offset < bytes.count - 1 else { return nil }
        return Int(bytes[offset + 1]) << 8 | Int(bytes[offset])
    }

    func u32(_ offset: Int) -> Int? {
        guard offset >= 0, offset < bytes.count - 3, let low = u16(offset), let high = u16(offset + 2) else {
            return nil
        }
        return high << 16 | low
    }

    func i32(_ offset: Int) -> Int? { u32(offset).map { Int(Int32(truncatingIfNeeded: $0)) } }
}
