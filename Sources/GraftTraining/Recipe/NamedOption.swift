/// One setting of a schedule, an optimizer or a loss, as a recipe spells it.
public struct NamedOption: Sendable, Equatable {
    /// What the setting holds.
    public enum Kind: Sendable, Equatable {
        /// A number in a range.
        case number(ClosedRange<Double>)
        /// A whole number in a range.
        case count(ClosedRange<Int>)
        /// `true` or `false`, held as 1 or 0.
        case flag
    }

    /// The key in the recipe.
    public let name: String
    /// What the setting holds.
    public let kind: Kind
    /// The value where the recipe leaves it out.
    public let defaultValue: Double
    /// What it does, in a few words.
    public let remark: String

    /// A number.
    public static func number(
        _ name: String, _ defaultValue: Double, in range: ClosedRange<Double>, _ remark: String
    ) -> NamedOption {
        NamedOption(name: name, kind: .number(range), defaultValue: defaultValue, remark: remark)
    }

    /// A whole number.
    public static func count(
        _ name: String, _ defaultValue: Int, in range: ClosedRange<Int>, _ remark: String
    ) -> NamedOption {
        NamedOption(name: name, kind: .count(range), defaultValue: Double(defaultValue), remark: remark)
    }

    /// A truth value.
    public static func flag(_ name: String, _ defaultValue: Bool, _ remark: String) -> NamedOption {
        NamedOption(name: name, kind: .flag, defaultValue: defaultValue ? 1 : 0, remark: remark)
    }

    /// A value as YAML spells it.
    func spelled(_ value: Double) -> String {
        switch kind {
        case .flag: value == 0 ? "false" : "true"
        case .count: String(Int(value))
        case .number: YAMLText.number(value)
        }
    }
}

/// A schedule, optimizer or loss by name, with its settings.
///
/// A plain value, so that a recipe can be compared, written and read without knowing what it names; the registries
/// (``Schedules``, ``Optimizers``, ``Losses``) hold the behaviour.
public struct NamedChoice: Sendable, Equatable {
    /// The name, such as `cosine` or `adamw`.
    public var name: String
    /// The settings that differ from the defaults or were spelled out.
    public var values: [String: Double]

    /// A choice with settings.
    public init(_ name: String, _ values: [String: Double] = [:]) {
        self.name = name
        self.values = values
    }

    /// The value of a setting, or its default.
    func value(_ option: NamedOption) -> Double { values[option.name] ?? option.defaultValue }

    /// The choice with every setting spelled out.
    func complete(_ options: [NamedOption]) -> NamedChoice {
        var result = self
        for option in options { result.values[option.name] = value(option) }
        return result
    }
}
