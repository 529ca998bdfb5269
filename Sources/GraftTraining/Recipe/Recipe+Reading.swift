import GraftCore
import Yams

extension Recipe {
    /// Reads a recipe from YAML.
    ///
    /// Every key but `stages` may be left out; a key that recipes do not have is refused.
    /// - Parameter source: the file's name, for messages.
    /// - Throws: ``RecipeError``, which names the key's path and line.
    public init(yaml: String, source: String = "") throws(RecipeError) {
        let place = RecipePlace("", source: source)
        guard yaml.utf8.count <= 1 << 20 else {
            throw .outOfRange(place, value: "a recipe of \(yaml.utf8.count) bytes", allowed: "at most 1 MiB")
        }
        let composed: Node?
        do { composed = try Yams.compose(yaml: yaml) } catch { throw Self.syntaxError(error, source: source) }
        guard let composed else { throw .missing(place, key: "stages") }
        try self.init(RecipeNode(composed, "", source: source))
    }

    /// The recipe in a file, or the error that there is none.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        let text = withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
        try self.init(yaml: text, source: path)
    }

    init(_ node: RecipeNode) throws(RecipeError) {
        let keys = try node.mapping([
            "data", "batch", "accumulate", "seed", "loss", "optimizer", "batch_norm", "clip", "features",
            "checkpoints", "monitor", "stages",
        ])
        var optimizer = OptimizerSettings()
        if let value = keys["optimizer"] { optimizer = try OptimizerSettings(value) }
        guard let list = keys["stages"] else { throw .missing(node.place, key: "stages") }
        let rate = Optimizers.named(optimizer.choice.name)?.defaultRate ?? 1e-3
        var stages: [Stage] = []
        for (index, entry) in try list.list().enumerated() {
            stages.append(try Stage(entry, index: index, defaultRate: rate))
        }
        guard !stages.isEmpty else { throw list.wrongType("at least one stage") }
        self.init(stages: stages)
        self.optimizer = optimizer
        if let value = keys["data"] { data = try DataSettings(value) }
        if let value = keys["batch"] { batch = try value.count(1...1_000_000) }
        if let value = keys["accumulate"] { accumulate = try value.count(1...1_000_000) }
        if let value = keys["seed"] { seed = try value.unsigned() }
        if let value = keys["loss"] { loss = try LossSettings(value) }
        if let value = keys["batch_norm"] { batchNorm = try BatchNormSettings(value) }
        if let value = keys["clip"], !value.isNull { clip = try value.number(1e-12...1e12) }
        if let value = keys["features"] { features = try FeatureSettings(value) }
        if let value = keys["checkpoints"] { checkpoints = try CheckpointSettings(value) }
        if let value = keys["monitor"] { monitor = try value.choice(Monitor.self) }
    }

    private static func syntaxError(_ error: any Error, source: String) -> RecipeError {
        guard let error = error as? YamlError else {
            return .syntax(RecipePlace("", source: source), reason: "\(error)")
        }
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return .syntax(RecipePlace("", source: source, line: mark.line), reason: problem)
        case .reader(let problem, _, _, _):
            return .syntax(RecipePlace("", source: source), reason: problem)
        case .duplicatedKeysInMapping(let keys, _):
            let key = keys.first.map { "\($0)" } ?? ""
            return .repeatedKey(RecipePlace("", source: source), key: key)
        default:
            return .syntax(RecipePlace("", source: source), reason: "the document cannot be read")
        }
    }
}

extension DataSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        let keys = try node.mapping(["train", "validation", "shuffle", "augment"])
        if let value = keys["train"], !value.isNull { train = try value.text() }
        if let value = keys["validation"] {
            if value.isNull {
                validation = .fraction(0)
            } else if value.numeric != nil {
                validation = .fraction(try value.number(0...0.9))
            } else {
                validation = .path(try value.text())
            }
        }
        if let value = keys["shuffle"] { shuffle = try value.bool() }
        if let value = keys["augment"], !value.isNull {
            for entry in try value.list() { augment.append(try AugmentationSetting(entry)) }
        }
    }
}

extension AugmentationSetting {
    init(_ node: RecipeNode) throws(RecipeError) {
        guard node.isMapping else {
            self.init(try node.text())
            return
        }
        var name: String?
        var values: [String: [Double]] = [:]
        for (key, entry) in try node.entries() {
            if key == "name" {
                name = try entry.value.text()
            } else if entry.value.isList {
                var numbers: [Double] = []
                for element in try entry.value.list() { numbers.append(try element.number()) }
                values[key] = numbers
            } else {
                values[key] = [try entry.value.number()]
            }
        }
        guard let name else { throw .missing(node.place, key: "name") }
        self.init(name, values)
    }
}

extension NamedChoice {
    /// Reads a name and its settings; `extra` are further keys that the caller reads itself.
    init(
        _ node: RecipeNode, known: [(name: String, options: [NamedOption])], extra: [String] = []
    ) throws(RecipeError) {
        guard node.isMapping else {
            let name = try node.text()
            guard known.contains(where: { $0.name == name }) else {
                throw .unknownName(node.place, name: name, known: known.map(\.name))
            }
            self.init(name)
            return
        }
        var name: String?
        for (key, entry) in try node.entries() where key == "name" { name = try entry.value.text() }
        guard let name else { throw .missing(node.place, key: "name") }
        guard let definition = known.first(where: { $0.name == name }) else {
            throw .unknownName(node.place, name: name, known: known.map(\.name))
        }
        let keys = try node.mapping(["name"] + definition.options.map(\.name) + extra)
        self.init(name)
        for option in definition.options {
            guard let value = keys[option.name] else { continue }
            switch option.kind {
            case .number(let range): values[option.name] = try value.number(range)
            case .count(let range): values[option.name] = Double(try value.count(range))
            case .flag: values[option.name] = try value.bool() ? 1 : 0
            }
        }
    }
}

extension LossSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        choice = try NamedChoice(node, known: Losses.all.map { ($0.name, $0.options) }, extra: ["class_weights"])
        guard node.isMapping else { return }
        for (key, entry) in try node.entries() where key == "class_weights" {
            let value = entry.value
            if value.isList {
                var weights: [Double] = []
                for element in try value.list() { weights.append(try element.number(0...1e9)) }
                classWeights = .given(weights)
            } else if value.isNull {
                classWeights = .equal
            } else {
                switch try value.text() {
                case "equal": classWeights = .equal
                case "balanced": classWeights = .balanced
                case let name:
                    throw .unknownName(value.place, name: name, known: ["equal", "balanced", "or a list of numbers"])
                }
            }
        }
    }
}

extension OptimizerSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        choice = try NamedChoice(node, known: Optimizers.all.map { ($0.name, $0.options) }, extra: ["exempt"])
        guard node.isMapping else { return }
        for (key, entry) in try node.entries() where key == "exempt" { exempt = try entry.value.bool() }
    }
}

extension BatchNormSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        guard node.isMapping else {
            mode = try node.choice(Mode.self)
            return
        }
        let keys = try node.mapping(["mode", "affine", "unbiased"])
        if let value = keys["mode"] { mode = try value.choice(Mode.self) }
        if let value = keys["affine"] { affine = try value.bool() }
        if let value = keys["unbiased"] { unbiased = try value.bool() }
    }
}

extension FeatureSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        let keys = try node.mapping(["cache", "views"])
        if let value = keys["cache"] { cache = try value.bool() }
        if let value = keys["views"] { views = try value.count(1...1000) }
    }
}

extension CheckpointSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init()
        let keys = try node.mapping(["seconds", "keep"])
        if let value = keys["seconds"] { seconds = try value.number(0...1e6) }
        if let value = keys["keep"] { keep = try value.count(2...1000) }
    }
}
