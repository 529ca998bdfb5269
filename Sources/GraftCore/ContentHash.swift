import CCrypto

/// A SHA-256 digest that names content.
public struct ContentHash: Hashable, Sendable, CustomStringConvertible {
    private let bytes: [UInt8]

    /// The digest in lower-case hexadecimal.
    public var description: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// The digest of some bytes.
    public init(_ data: UnsafeRawBufferPointer) {
        let hasher = Hasher()
        hasher.update(data)
        self = hasher.finish()
    }

    fileprivate init(bytes: [UInt8]) { self.bytes = bytes }

    /// Digests content that comes in parts.
    public final class Hasher {
        // Invariant: a live digest context, owned by this object alone and initialised for SHA-256.
        private let context: OpaquePointer

        /// A hasher that has seen nothing.
        public init() {
            guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
                fatalError("libcrypto offers no SHA-256")
            }
            self.context = context
        }

        deinit { EVP_MD_CTX_free(context) }

        /// Appends bytes.
        public func update(_ data: UnsafeRawBufferPointer) { EVP_DigestUpdate(context, data.baseAddress, data.count) }

        /// Appends the UTF-8 of a text and a terminator.
        public func update(_ text: String) { (Array(text.utf8) + [0]).withUnsafeBytes { update($0) } }

        /// The digest of everything appended; the hasher is used up.
        public func finish() -> ContentHash {
            var digest = [UInt8](repeating: 0, count: 32)
            EVP_DigestFinal_ex(context, &digest, nil)
            return ContentHash(bytes: digest)
        }
    }
}
