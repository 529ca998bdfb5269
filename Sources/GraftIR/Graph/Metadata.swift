/// Named texts attached to a model, graph, node, value or tensor, in file order.
public struct Metadata: Sendable, Hashable {
    /// One named text.
    public struct Entry: Sendable, Hashable {
        /// The name.
        public var key: String
        /// The text.
        public var value: String
        /// What the file said beyond this.
        public var carried: Carried

        /// A named text.
        public init(key: String, value: String, carried: Carried = .nothing) {
            self.key = key
            self.value = value
            self.carried = carried
        }
    }

    /// All entries; a file may repeat a key.
    public var entries: [Entry]

    /// Metadata with the given entries.
    public init(_ entries: [Entry] = []) { self.entries = entries }

    /// Whether there are no entries.
    public var isEmpty: Bool { entries.isEmpty }

    /// The text of the first entry with that key; setting replaces it in place, appends, or removes all with nil.
    public subscript(key: String) -> String? {
        get { entries.first { $0.key == key }?.value }
        set {
            guard let newValue else {
                entries.removeAll { $0.key == key }
                return
            }
            if let index = entries.firstIndex(where: { $0.key == key }) {
                entries[index].value = newValue
            } else {
                entries.append(Entry(key: key, value: newValue))
            }
        }
    }
}
