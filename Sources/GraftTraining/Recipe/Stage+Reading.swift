extension Stage {
    init(_ node: RecipeNode, index: Int, defaultRate: Double) throws(RecipeError) {
        let keys = try node.mapping(["name", "thaw", "epochs", "steps", "rate", "decay", "schedule", "stop"])
        var length = Length.epochs(3)
        if let epochs = keys["epochs"] {
            guard keys["steps"] == nil else {
                throw .contradiction(node.place, reason: "a stage has either epochs or steps, not both")
            }
            length = .epochs(try epochs.count(1...1_000_000))
        } else if let steps = keys["steps"] {
            length = .steps(try steps.count(1...1_000_000_000))
        }
        var thaw = index == 0 ? ["@head"] : []
        if let value = keys["thaw"] {
            if value.isList {
                thaw = []
                for element in try value.list() { thaw.append(try element.text()) }
            } else {
                thaw = value.isNull ? [] : [try value.text()]
            }
        }
        self.init(
            name: try keys["name"]?.text() ?? "stage-\(index + 1)", thaw: thaw, length: length,
            rate: try keys["rate"]?.number(0...1000) ?? defaultRate,
            decay: try keys["decay"]?.number(0.0001...1) ?? 1)
        if let value = keys["schedule"] { schedule = try ScheduleSettings(value) }
        if let value = keys["stop"], !value.isNull { stop = try StopSettings(value) }
    }
}

extension ScheduleSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        self.init(try NamedChoice(node, known: Schedules.all.map { ($0.name, $0.options) }, extra: ["warmup"]))
        guard node.isMapping else { return }
        for (key, entry) in try node.entries() where key == "warmup" {
            let value = entry.value
            guard let number = value.numeric else { throw value.wrongType("a fraction below 1 or a number of steps") }
            guard Schedules.named(choice.name)?.ownsWarmup != true else {
                throw .contradiction(
                    value.place, reason: "the schedule \(choice.name) rises by itself; leave warmup out")
            }
            if number == 0 {
                warmup = .none
            } else if number > 0, number < 1 {
                warmup = .fraction(number)
            } else {
                warmup = .steps(try value.count(1...1_000_000_000))
            }
        }
    }
}

extension StopSettings {
    init(_ node: RecipeNode) throws(RecipeError) {
        let keys = try node.mapping(["patience", "delta"])
        guard let patience = keys["patience"] else { throw .missing(node.place, key: "patience") }
        self.init(
            patience: try patience.count(1...1_000_000), delta: try keys["delta"]?.number(0...1e9) ?? 0)
    }
}
