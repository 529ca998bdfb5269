import GraftCore
import OrderedCollections

/// Lists of names that are too long for one attribute.
///
/// HDF5 keeps attributes in object headers of at most 64 KiB. Keras splits a longer list over `name0`, `name1`, ...
/// (`save_attributes_to_hdf5_group` in `keras/src/legacy/saving/legacy_h5_format.py`).
extension HDF5Group {
    /// The most bytes that one attribute of names may take: `HDF5_OBJECT_HEADER_LIMIT` of Keras.
    public static let attributeLimit = 64512

    /// The list of texts under a name, put together from its parts where it was split; nil where there is none.
    public func stringList(_ name: String) -> [String]? {
        if let whole = attributes[name] { return whole.texts }
        var texts: [String]?
        var part = 0
        while let piece = attributes["\(name)\(part)"]?.texts {
            texts = (texts ?? []) + piece
            part += 1
        }
        return texts
    }

    /// Stores a list of texts as Keras does, split where it is too long for one attribute.
    ///
    /// An empty list becomes an empty float64 array and a list that fits becomes variable-length texts, as h5py makes
    /// them; parts of a split list are of fixed length.
    /// - Throws: ``HDF5Error/cannotStore(object:reason:)`` where one text alone is too long.
    public mutating func setStringList(_ name: String, _ texts: [String]) throws(HDF5Error) {
        removeStringList(name)
        guard !texts.isEmpty else {
            attributes[name] = .tensor(Tensor([Double]()))
            return
        }
        let width = texts.reduce(1) { max($0, $1.utf8.count) }
        guard width <= Self.attributeLimit else {
            throw .cannotStore(object: name, reason: "a name of \(width) bytes does not fit an attribute")
        }
        let fitting = Self.attributeLimit / width
        if texts.count <= fitting {
            attributes[name] = .strings(
                HDF5Strings(texts, shape: [texts.count], format: HDF5StringFormat(characters: .ascii)))
            return
        }
        var parts = 2
        while (texts.count + parts - 1) / parts > fitting { parts += 1 }
        // numpy's array_split: the first `count % parts` pieces have one element more.
        var start = 0
        for part in 0..<parts {
            let count = texts.count / parts + (part < texts.count % parts ? 1 : 0)
            let piece = Array(texts[start..<(start + count)])
            let format = HDF5StringFormat(
                characters: .ascii, padding: .nullPadded, fixedLength: piece.reduce(1) { max($0, $1.utf8.count) })
            attributes["\(name)\(part)"] = .strings(HDF5Strings(piece, shape: [count], format: format))
            start += count
        }
    }

    /// Removes a list of texts, whole or split.
    public mutating func removeStringList(_ name: String) {
        attributes[name] = nil
        var part = 0
        while attributes.removeValue(forKey: "\(name)\(part)") != nil { part += 1 }
    }
}
