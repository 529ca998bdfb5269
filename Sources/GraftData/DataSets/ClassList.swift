import GraftCore

/// The classes of a data set and their order.
enum ClassList {
    /// The class names and the label of each name in `names`.
    ///
    /// Without a model's classes these are the names in order: by number where all are whole numbers, by bytes
    /// otherwise.
    /// - Throws: ``DataSetError/unknownClass(path:className:suggestion:)``.
    static func resolve(
        _ names: Set<String>, modelClasses: [String]?, path: String
    ) throws(DataSetError) -> (classNames: [String], labels: [String: Int]) {
        let order: [String]
        if let modelClasses {
            order = modelClasses
        } else if names.allSatisfy({ Int($0) != nil }) {
            order = names.sorted { (Int($0) ?? 0, $0) < (Int($1) ?? 0, $1) }
        } else {
            order = names.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        }
        let labels = Dictionary(order.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        for name in names.sorted() where labels[name] == nil {
            let known = order.prefix(8).joined(separator: ", ") + (order.count > 8 ? ", ..." : "")
            throw .unknownClass(
                path: path, className: name, suggestion: "\(Suggestion.sentence(name, in: order)) They are \(known).")
        }
        return (order, labels)
    }
}
