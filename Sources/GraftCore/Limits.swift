/// Every bound that reading a file is held to.
///
/// A file is hostile until parsed: each number here is checked before memory is reserved or a loop is entered.
public struct Limits: Sendable, Equatable {
    /// The deepest nesting of messages, groups, graphs or JSON values.
    public var nestingDepth = 100
    /// The most bytes that parsing may hold besides mapped files and decoded tensors.
    public var parseBytes = 1 << 30
    /// The most bytes that one decoded (compressed, chunked or converted) tensor may take.
    public var decodedTensorBytes = 16 << 30
    /// The most nodes, tensors, groups, attributes or members that one file may declare.
    public var objectCount = 4_000_000
    /// The most bytes of one text: a name, an attribute, a JSON document.
    public var textBytes = 256 << 20
    /// The largest factor by which a compressed member may grow.
    public var expansionRatio = 1000
    /// The most seconds that the helper process may take to read one file.
    public var helperSeconds = 120
    /// The most bytes of memory that the helper process may take.
    public var helperBytes = 4 << 30
    /// The most pixels that an image may declare.
    public var imagePixels = 512 << 20

    /// The default limits.
    public init() {}

    /// The limits by the names under which a user changes them.
    private static var fields: [(name: String, path: WritableKeyPath<Limits, Int>)] {
        [
            ("nesting-depth", \.nestingDepth), ("parse-bytes", \.parseBytes),
            ("decoded-tensor-bytes", \.decodedTensorBytes), ("object-count", \.objectCount),
            ("text-bytes", \.textBytes), ("expansion-ratio", \.expansionRatio),
            ("helper-seconds", \.helperSeconds), ("helper-bytes", \.helperBytes), ("image-pixels", \.imagePixels),
        ]
    }

    /// The names and values of all limits, in order of declaration.
    public var entries: [(name: String, value: Int)] { Self.fields.map { ($0.name, self[keyPath: $0.path]) } }

    /// Sets the limit of that name.
    ///
    /// - Returns: whether there is such a limit.
    public mutating func set(_ name: String, to value: Int) -> Bool {
        guard let field = Self.fields.first(where: { $0.name == name }) else { return false }
        self[keyPath: field.path] = value
        return true
    }
}
