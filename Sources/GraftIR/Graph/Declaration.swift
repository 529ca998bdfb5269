/// What a file says about a value where it declares it.
public struct Declaration: Sendable, Equatable {
    /// The type as far as declared.
    public var type: ValueType?
    /// The remark.
    public var docString: String
    /// Named texts.
    public var metadata: Metadata
    /// What the file said beyond this.
    public var carried: Carried

    /// A declaration.
    public init(
        type: ValueType? = nil, docString: String = "", metadata: Metadata = Metadata(), carried: Carried = .nothing
    ) {
        self.type = type
        self.docString = docString
        self.metadata = metadata
        self.carried = carried
    }
}

/// One of several declarations of a value, with another content than the value's own.
///
/// A file may declare a value as an input or output and once more in its list of types, and need not say the same. The
/// variant counts as long as the value's own declaration is as it was when the file was read: whoever changes the type
/// of a value changes it everywhere.
public struct DeclarationVariant: Sendable, Equatable {
    /// A list of declarations in a graph.
    public enum Place: Sendable, Hashable {
        /// The inputs.
        case inputs
        /// The outputs.
        case outputs
        /// The types of other values.
        case types
    }

    /// The list that holds the declaration.
    public var place: Place
    /// Which of the value's declarations in that list, from 0.
    public var occurrence: Int
    /// What it says.
    public var content: Declaration
    /// What the value's own declaration said when the file was read.
    public var original: Declaration

    /// A declaration of a value beside its own.
    public init(place: Place, occurrence: Int, content: Declaration, original: Declaration) {
        self.place = place
        self.occurrence = occurrence
        self.content = content
        self.original = original
    }
}
