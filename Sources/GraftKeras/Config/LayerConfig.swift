import GraftCore
import OrderedCollections

/// The configuration of one layer: its class, name and settings, with the file and place for messages.
struct LayerConfig: Sendable {
    /// The class, without the package of a custom one.
    let className: String
    /// The name, unique in its model.
    let name: String
    /// The settings.
    var settings: JSON
    /// The file, for messages.
    let file: String

    /// Reads the object `{class_name, config}` of a layer.
    init(_ json: JSON, file: String, place: String) throws(KerasError) {
        guard let className = json["class_name"]?.string, let settings = json["config"] else {
            throw .malformed(path: file, place: place, expected: "a layer with class_name and config")
        }
        guard let name = json["name"]?.string ?? settings["name"]?.string else {
            throw .malformed(path: file, place: "\(place) (\(className))", expected: "a layer with a name")
        }
        self.init(className: className, name: name, settings: settings, file: file)
    }

    init(className: String, name: String, settings: JSON, file: String) {
        self.className = className
        self.name = name
        self.settings = settings
        self.file = file
    }

    /// Whether the layer's own weights are trained.
    var isTrainable: Bool { settings["trainable"]?.bool ?? true }

    /// Whether the layer is a model of layers.
    var isModel: Bool {
        ["Functional", "Sequential", "Model"].contains(className) && settings["layers"] != nil
            || className == "Sequential" && settings.array != nil
    }

    /// An error that names the layer.
    func unsupported(_ reason: String) -> KerasError {
        .unsupportedLayer(path: file, layer: name, className: className, reason: reason)
    }

    /// An error about one setting.
    func malformed(_ setting: String, expected: String) -> KerasError {
        .malformed(path: file, place: "layer \"\(name)\": \(setting)", expected: expected)
    }

    /// The setting of that name where it is there and not `null`.
    subscript(setting: String) -> JSON? {
        guard let value = settings[setting], !value.isNull else { return nil }
        return value
    }

    func int(_ setting: String, default other: Int? = nil) throws(KerasError) -> Int {
        guard let value = self[setting]?.int ?? other else { throw malformed(setting, expected: "an integer") }
        return value
    }

    func float(_ setting: String, default other: Float? = nil) throws(KerasError) -> Float {
        guard let value = self[setting]?.double.map({ Float($0) }) ?? other else {
            throw malformed(setting, expected: "a number")
        }
        return value
    }

    func bool(_ setting: String, default other: Bool) -> Bool { self[setting]?.bool ?? other }

    /// Two extents, written as a list or as one number for both.
    func pair(_ setting: String, default other: Int? = nil) throws(KerasError) -> [Int] {
        let value = self[setting]
        if let one = value?.int ?? (value == nil ? other : nil), one >= 0 { return [one, one] }
        let list = value?.array?.compactMap(\.int) ?? []
        guard list.count == 2, list.allSatisfy({ $0 >= 0 && $0 < 1 << 31 }) else {
            throw malformed(setting, expected: "two positive integers")
        }
        return list
    }

    /// Whether images have their channels last.
    var isChannelsLast: Bool { (self["data_format"]?.string ?? "channels_last") == "channels_last" }

    /// The number format that the layer computes in: `float32`, or what a policy names.
    var dtypeName: String {
        guard let dtype = self["dtype"] else { return "float32" }
        return dtype.string ?? dtype["config"]?["name"]?.string ?? dtype["class_name"]?.string ?? "float32"
    }

    /// The shape that the layer's input is declared with, batch first; nil entries are unknown.
    var declaredShape: [Int?]? {
        (self["batch_shape"] ?? self["batch_input_shape"])?.array.map { $0.map(\.int) }
    }

    /// A class name or function name that a setting gives by itself or as a serialized object.
    func name(of setting: String) -> String? {
        guard let value = self[setting] else { return nil }
        if let name = value.string { return name }
        return value["config"]?.string ?? value["config"]?["name"]?.string ?? value["class_name"]?.string
    }
}
