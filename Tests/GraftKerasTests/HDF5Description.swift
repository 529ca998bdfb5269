import GraftCore
import GraftHDF5
import OrderedCollections

/// What a file holds, in the terms of `fixtures/hdf5/make.py`.
enum HDF5Description {
    /// A group, attribute or data set, as one line.
    static func lines(of file: HDF5File) throws -> [String: String] {
        var lines: [String: String] = [:]
        try add(file.root, path: "", to: &lines)
        return lines
    }

    /// The same from the golden JSON.
    static func lines(of golden: JSON) -> [String: String] {
        var lines: [String: String] = [:]
        for (path, value) in golden.object ?? [:] {
            let shape = value["shape"]?.text() ?? ""
            lines[path] =
                switch value["kind"]?.string {
                case "texts": "texts \(shape) \(value["texts"]?.text() ?? value["sha256"]?.string ?? "")"
                case "tensor": "\(value["type"]?.string ?? "") \(shape) \(value["sha256"]?.string ?? "")"
                case let other: other ?? ""
                }
        }
        return lines
    }

    private static func add(_ group: HDF5Group, path: String, to lines: inout [String: String]) throws {
        let shown = path.isEmpty ? "/" : path
        lines[shown] = "group"
        try add(group.attributes, path: shown, to: &lines)
        for (name, child) in group.children {
            switch child {
            case .group(let group): try add(group, path: "\(path)/\(name)", to: &lines)
            case .dataset(let dataset):
                lines["\(path)/\(name)"] =
                    switch dataset.content {
                    case .tensor(let tensor): try line(tensor)
                    case .unsupported: "unsupported"
                    }
                try add(dataset.attributes, path: "\(path)/\(name)", to: &lines)
            }
        }
    }

    private static func add(
        _ attributes: OrderedDictionary<String, HDF5Attribute>, path: String, to lines: inout [String: String]
    ) throws {
        for (name, value) in attributes {
            lines["\(path)@\(name)"] =
                switch value {
                case .empty: "empty"
                case .unsupported: "unsupported"
                case .strings(let strings): line(strings.texts, shape: strings.shape)
                case .tensor(let tensor): try line(tensor)
                }
        }
    }

    private static func line(_ tensor: Tensor) throws -> String {
        if let strings = tensor.strings { return line(strings, shape: tensor.shape) }
        let digest = try tensor.withBytes { ContentHash($0).description.prefix(16) }
        return "\(tensor.elementType.name) \(JSON(tensor.shape).text()) \(digest)"
    }

    private static func line(_ texts: [String], shape: [Int]) -> String {
        let size = texts.reduce(0) { $0 + $1.unicodeScalars.count }
        if size <= 200 { return "texts \(JSON(shape).text()) \(JSON(texts).text())" }
        let joined: [UInt8] = texts.reduce(into: []) { $0 += Array($1.utf8) + [0] }
        let digest = joined.withUnsafeBytes { ContentHash($0).description.prefix(16) }
        return "texts \(JSON(shape).text()) \(digest)"
    }
}
