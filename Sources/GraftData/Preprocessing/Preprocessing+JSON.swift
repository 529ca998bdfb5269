import GraftCore
import OrderedCollections

extension Preprocessing {
    /// The contract as JSON, every key spelled out.
    public var json: JSON {
        var members: OrderedDictionary<String, JSON> = ["size": JSON([height, width])]
        switch resize {
        case .crop(let shortSide):
            members["resize"] = "crop"
            members["short_side"] = JSON(shortSide)
        case .stretch: members["resize"] = "stretch"
        case .pad(let fill):
            members["resize"] = "pad"
            members["fill"] = JSON(Int(fill))
        }
        members["filter"] = JSON(filter.rawValue)
        members["antialias"] = JSON(antialias)
        members["scale"] = JSON(scale)
        members["mean"] = JSON(mean.map { JSON($0) })
        members["std"] = JSON(std.map { JSON($0) })
        members["channels"] = JSON(channels.rawValue)
        members["layout"] = JSON(layout.rawValue)
        members["type"] = JSON(elementType.name)
        return .object(members)
    }

    /// Reads a contract; only `size` must be there, other keys have the defaults of ``init(height:width:resize:filter:antialias:scale:mean:std:channels:layout:elementType:)``.
    ///
    /// - Throws: ``PreprocessingError``, also for a key that is not known.
    public init(json: JSON) throws(PreprocessingError) {
        guard let members = json.object else { throw .invalid(key: "preprocessing", reason: "an object was expected") }
        let reader = Reader(members: members)
        try reader.checkKeys()
        guard let size = json["size"] else { throw .missingKey(key: "size") }
        guard let sides = size.array?.map(\.int), sides.count == 2, let height = sides[0], let width = sides[1] else {
            throw .invalid(key: "size", reason: "two integers were expected: height and width")
        }
        let resize: Resize
        switch try reader.text("resize") ?? "stretch" {
        case "crop":
            guard let shortSide = try reader.integer("short_side") else { throw .missingKey(key: "short_side") }
            resize = .crop(shortSide: shortSide)
        case "stretch": resize = .stretch
        case "pad":
            guard let fill = UInt8(exactly: try reader.integer("fill") ?? 0) else {
                throw .invalid(key: "fill", reason: "a number from 0 to 255 was expected")
            }
            resize = .pad(fill: fill)
        case let other: throw Reader.unknown(other, key: "resize", choices: ["crop", "stretch", "pad"])
        }
        let channels = try reader.choice("channels", Channels.allCases) ?? .rgb
        let typeName = try reader.text("type") ?? "float"
        guard let type = ElementType(name: typeName) else {
            throw Reader.unknown(typeName, key: "type", choices: ElementType.allCases.map(\.name))
        }
        try self.init(
            height: height, width: width, resize: resize,
            filter: try reader.choice("filter", ResamplingFilter.allCases) ?? .bilinear,
            antialias: try reader.truth("antialias") ?? true, scale: try reader.number("scale") ?? 1,
            mean: try reader.numbers("mean"), std: try reader.numbers("std"), channels: channels,
            layout: try reader.choice("layout", Layout.allCases) ?? .nchw, elementType: type)
    }

    /// Typed reads of members.
    private struct Reader {
        let members: OrderedDictionary<String, JSON>

        private static let keys = [
            "size", "resize", "short_side", "fill", "filter", "antialias", "scale", "mean", "std", "channels", "layout",
            "type",
        ]

        func checkKeys() throws(PreprocessingError) {
            for key in members.keys where !Self.keys.contains(key) {
                throw .unknownKey(key: key, suggestion: Suggestion.sentence(key, in: Self.keys))
            }
        }

        static func unknown(_ value: String, key: String, choices: [String]) -> PreprocessingError {
            .invalid(
                key: key,
                reason:
                    "\"\(value)\" is not one of \(choices.joined(separator: ", ")).\(Suggestion.sentence(value, in: choices))"
            )
        }

        func value<T>(_ key: String, _ kind: String, _ read: (JSON) -> T?) throws(PreprocessingError) -> T? {
            guard let member = members[key] else { return nil }
            guard let value = read(member) else { throw .invalid(key: key, reason: "\(kind) was expected") }
            return value
        }

        func text(_ key: String) throws(PreprocessingError) -> String? { try value(key, "a text", \.string) }
        func truth(_ key: String) throws(PreprocessingError) -> Bool? { try value(key, "true or false", \.bool) }
        func integer(_ key: String) throws(PreprocessingError) -> Int? { try value(key, "an integer", \.int) }
        func number(_ key: String) throws(PreprocessingError) -> Double? { try value(key, "a number", \.double) }

        func numbers(_ key: String) throws(PreprocessingError) -> [Double]? {
            try value(key, "a list of numbers") { json in
                guard let elements = json.array else { return nil }
                let numbers = elements.compactMap(\.double)
                return numbers.count == elements.count ? numbers : nil
            }
        }

        func choice<T: RawRepresentable<String>>(_ key: String, _ cases: [T]) throws(PreprocessingError) -> T? {
            guard let text = try text(key) else { return nil }
            guard let value = T(rawValue: text) else {
                throw Self.unknown(text, key: key, choices: cases.map(\.rawValue))
            }
            return value
        }
    }
}
