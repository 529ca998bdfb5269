import CZlib

/// Deflate streams with zlib's header and checksum (RFC 1950), as PNG holds its pixels.
package enum ZlibStream {
    /// The bytes compressed; nil where there is not enough memory.
    package static func compress(_ bytes: [UInt8]) -> [UInt8]? {
        let bound = Int(compressBound(uLong(bytes.count)))
        var isDone = false
        let result = [UInt8](unsafeUninitializedCapacity: bound) { target, count in
            var length = uLongf(bound)
            isDone = CZlib.compress(target.baseAddress, &length, bytes, uLong(bytes.count)) == Z_OK
            count = isDone ? Int(length) : 0
        }
        return isDone ? result : nil
    }
}
