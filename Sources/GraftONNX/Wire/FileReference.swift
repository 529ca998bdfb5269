/// What stands in a skeleton for bytes that stay in the file: a number that the file cannot know, their offset, and
/// their length.
///
/// Twenty-four bytes, so that a reference also passes for a list of six floats or three doubles.
struct FileReference {
    static let byteCount = 24

    /// Drawn for each read; it tells a reference from numbers of the file.
    var nonce: UInt64
    var range: Range<Int>

    init(nonce: UInt64, range: Range<Int>) {
        self.nonce = nonce
        self.range = range
    }

    /// The reference that the bytes are, or nil where they are something else.
    init?(_ bytes: UnsafeRawBufferPointer, nonce: UInt64) {
        func number(_ index: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        }
        guard bytes.count == Self.byteCount, number(0) == nonce, let start = Int(exactly: number(1)),
            let count = Int(exactly: number(2)), count <= Int.max - start
        else { return nil }
        self.init(nonce: nonce, range: start..<(start + count))
    }

    /// The numbers that make up the reference.
    var numbers: [UInt64] { [nonce, UInt64(range.lowerBound), UInt64(range.count)] }
}
