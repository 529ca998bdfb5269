import GraftCore
import OrderedCollections

/// An HDF5 file as a value: its tree of groups, attributes and data sets.
///
/// The bytes of data sets stay in the file where they are contiguous and little-endian, and are decoded on demand
/// otherwise.
public struct HDF5File: Sendable {
    /// The path as it was given.
    public let path: String
    /// The group `/`.
    public let root: HDF5Group

    /// The object at a path such as `model_weights/conv1`, or nil where there is none.
    public subscript(path: String) -> HDF5Object? {
        var object = HDF5Object.group(root)
        for part in path.split(separator: "/") {
            guard case .group(let group) = object, let child = group.children[String(part)] else { return nil }
            object = child
        }
        return object
    }

    /// The group at a path.
    ///
    /// - Throws: ``HDF5Error`` where there is none, or something else.
    public func group(_ path: String) throws(HDF5Error) -> HDF5Group {
        guard let object = self[path] else { throw .missing(path: self.path, object: "group /\(path)") }
        guard case .group(let group) = object else {
            throw .unexpected(path: self.path, object: "/\(path)", expected: "a group, found a data set")
        }
        return group
    }

    /// The elements of the data set at a path.
    ///
    /// - Throws: ``HDF5Error`` where there is none, something else, or a type that tensors do not have.
    public func tensor(_ path: String) throws(HDF5Error) -> Tensor {
        guard let object = self[path] else { throw .missing(path: self.path, object: "data set /\(path)") }
        guard case .dataset(let dataset) = object else {
            throw .unexpected(path: self.path, object: "/\(path)", expected: "a data set, found a group")
        }
        switch dataset.content {
        case .tensor(let tensor): return tensor
        case .unsupported(let type):
            throw .unexpected(path: self.path, object: "/\(path)", expected: "numbers or texts, found \(type)")
        }
    }
}

/// A group: named attributes and named objects, in the file's order.
public struct HDF5Group: Sendable {
    /// The attributes.
    public var attributes: OrderedDictionary<String, HDF5Attribute>
    /// The groups and data sets.
    public var children: OrderedDictionary<String, HDF5Object>

    /// A group with the given contents.
    public init(
        attributes: OrderedDictionary<String, HDF5Attribute> = [:],
        children: OrderedDictionary<String, HDF5Object> = [:]
    ) {
        self.attributes = attributes
        self.children = children
    }

    /// The group child with the given name.
    public func group(_ name: String) -> HDF5Group? {
        guard case .group(let group)? = children[name] else { return nil }
        return group
    }

    /// Stores a data set at a path below this group and makes the groups on the way.
    ///
    /// - Throws: ``HDF5Error/cannotStore(object:reason:)`` where a data set is in the way or the path is empty.
    public mutating func set(_ dataset: HDF5Dataset, at path: String) throws(HDF5Error) {
        try set(dataset, parts: path.split(separator: "/").map(String.init)[...], path: path)
    }

    private mutating func set(_ dataset: HDF5Dataset, parts: ArraySlice<String>, path: String) throws(HDF5Error) {
        guard let name = parts.first else { throw .cannotStore(object: path, reason: "its name is empty") }
        if parts.count == 1 {
            guard children[name] == nil else { throw .cannotStore(object: path, reason: "its name is taken") }
            children[name] = .dataset(dataset)
            return
        }
        var group = HDF5Group()
        switch children[name] {
        case .group(let existing): group = existing
        case .dataset: throw .cannotStore(object: path, reason: "\(name) is a data set, so nothing can be inside it")
        case nil: break
        }
        children[name] = .group(HDF5Group())
        try group.set(dataset, parts: parts.dropFirst(), path: path)
        children[name] = .group(group)
    }
}

/// A group or a data set.
public enum HDF5Object: Sendable {
    /// A group.
    case group(HDF5Group)
    /// A data set.
    case dataset(HDF5Dataset)
}

/// A data set: an array with attributes.
public struct HDF5Dataset: Sendable {
    /// The attributes.
    public var attributes: OrderedDictionary<String, HDF5Attribute>
    /// The elements.
    public var content: Content

    /// What a data set holds.
    public enum Content: Sendable {
        /// Numbers or texts.
        case tensor(Tensor)
        /// Something that tensors do not have, such as compounds; the text says what.
        case unsupported(String)
    }

    /// A data set with the given elements.
    public init(_ tensor: Tensor, attributes: OrderedDictionary<String, HDF5Attribute> = [:]) {
        content = .tensor(tensor)
        self.attributes = attributes
    }

    init(content: Content, attributes: OrderedDictionary<String, HDF5Attribute>) {
        self.content = content
        self.attributes = attributes
    }

    /// The elements, where tensors can hold them.
    public var tensor: Tensor? { if case .tensor(let tensor) = content { tensor } else { nil } }
}
