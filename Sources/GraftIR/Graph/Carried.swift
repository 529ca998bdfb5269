/// What a file said about an entity that the IR has no word for.
///
/// Format modules put here what they must write back unchanged; nobody else looks inside. An entity that a pass
/// creates carries nothing.
public struct Carried: Sendable, Hashable {
    /// Fields in the file format's own encoding, in file order.
    public var fields: [UInt8]
    /// The numbers (0...63) of fields that the file spells out although they hold their default, as a bit set.
    public var explicitDefaults: UInt64

    /// Nothing.
    public static let nothing = Carried(fields: [], explicitDefaults: 0)

    /// What a file said beyond the IR's vocabulary.
    public init(fields: [UInt8] = [], explicitDefaults: UInt64 = 0) {
        self.fields = fields
        self.explicitDefaults = explicitDefaults
    }

    /// Whether the field of that number was written with its default value.
    public func isExplicit(_ field: Int) -> Bool { explicitDefaults >> UInt64(field) & 1 == 1 }

    /// Notes that the field of that number was written with its default value.
    public mutating func markExplicit(_ field: Int) { explicitDefaults |= 1 << UInt64(field) }
}
