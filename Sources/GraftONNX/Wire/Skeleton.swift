import Glibc

/// A growing block of bytes: the small part of a file that protobuf-c parses.
struct Skeleton: ~Copyable {
    // Invariant: `memory` is a live allocation of `capacity` bytes of which the first `count` are written; it is freed
    // only in deinit.
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0
    private let budget: Int

    /// The skeleton would pass its budget.
    struct TooLarge: Error {}

    /// An empty skeleton of at most `budget` bytes.
    init(budget: Int) {
        self.budget = budget
        capacity = 1 << 14
        memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    }

    deinit { memory.deallocate() }

    /// Calls `body` with the bytes.
    borrowing func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(start: memory, count: count))
    }

    private mutating func reserve(_ extra: Int) throws(TooLarge) {
        guard extra > capacity - count else { return }
        guard extra <= budget - count else { throw TooLarge() }
        let wanted = max(count + extra, min(capacity * 2, budget))
        let larger = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
        larger.copyMemory(from: memory, byteCount: count)
        memory.deallocate()
        memory = larger
        capacity = wanted
    }

    /// Appends bytes as they are.
    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(TooLarge) {
        try reserve(bytes.count)
        if let start = bytes.baseAddress { (memory + count).copyMemory(from: start, byteCount: bytes.count) }
        count += bytes.count
    }

    /// Appends the tag of a length-delimited field and room for its length.
    ///
    /// - Returns: a mark for ``close(_:)``.
    mutating func open(field number: Int) throws(TooLarge) -> Int {
        try reserve(15)
        appendVarint(UInt64(number) << 3 | 2)
        let mark = count
        count += 5
        return mark
    }

    /// Fills in the length of the field that was opened at a mark, always as five bytes.
    mutating func close(_ mark: Int) {
        let length = count - mark - 5
        for index in 0..<5 {
            let part = UInt8(truncatingIfNeeded: length >> (7 * index)) & 0x7f
            memory.storeBytes(of: index < 4 ? part | 0x80 : part, toByteOffset: mark + index, as: UInt8.self)
        }
    }

    /// Appends a length-delimited field that stands for a range of the file.
    mutating func append(_ reference: FileReference, field number: Int) throws(TooLarge) {
        try reserve(FileReference.byteCount + 11)
        appendVarint(UInt64(number) << 3 | 2)
        appendVarint(UInt64(FileReference.byteCount))
        for value in reference.numbers {
            memory.storeBytes(of: value.littleEndian, toByteOffset: count, as: UInt64.self)
            count += 8
        }
    }

    // Room was reserved by the caller.
    private mutating func appendVarint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            memory.storeBytes(of: UInt8(truncatingIfNeeded: value) | 0x80, toByteOffset: count, as: UInt8.self)
            count += 1
            value >>= 7
        }
        memory.storeBytes(of: UInt8(value), toByteOffset: count, as: UInt8.self)
        count += 1
    }
}
