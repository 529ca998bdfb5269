import GraftCore

/// Arithmetic on extents; what cannot be told is ``Extent/unknown``.
extension Extent {
    /// The expression, nil where nothing is known.
    var expression: ExtentExpression? {
        switch self {
        case .fixed(let value) where value >= 0: ExtentExpression(value)
        case .symbol(let text) where !text.isEmpty: ExtentParser.parse(text)
        default: nil
        }
    }

    /// The expression of a number that flows as data and may be negative.
    var dataExpression: ExtentExpression? {
        if case .fixed(let value) = self { ExtentExpression(value) } else { expression }
    }

    init(_ expression: ExtentExpression?) {
        guard let expression else {
            self = .unknown
            return
        }
        self = expression.constant.map { .fixed($0) } ?? .symbol(expression.text)
    }

    /// Whether the extent is a number or an expression.
    public var isKnown: Bool {
        switch self {
        case .fixed(let value): value >= 0
        case .symbol(let text): !text.isEmpty
        case .unknown: false
        }
    }

    private func combined(
        _ other: Extent, _ operation: (ExtentExpression, ExtentExpression) -> ExtentExpression?
    ) -> Extent {
        guard let a = dataExpression, let b = other.dataExpression else { return .unknown }
        return Extent(operation(a, b))
    }

    /// The sum.
    public static func + (a: Extent, b: Extent) -> Extent { a.combined(b) { $0.adding($1) } }
    /// The difference.
    public static func - (a: Extent, b: Extent) -> Extent {
        a.combined(b) { x, y in y.negated().flatMap { x.adding($0) } }
    }
    /// The product.
    public static func * (a: Extent, b: Extent) -> Extent {
        if a == .fixed(0) || b == .fixed(0) { return .fixed(0) }
        return a.combined(b) { $0.multiplied(by: $1) }
    }
    /// The quotient rounded down; unknown for a divisor that is not positive.
    public func floorDivided(by divisor: Extent) -> Extent {
        if case .fixed(let value) = divisor, value <= 0 { return .unknown }
        return combined(divisor) { $0.floorDivided(by: $1) }
    }
    /// The quotient rounded up, for a positive number.
    public func ceilDivided(by divisor: Int) -> Extent {
        (self + .fixed(divisor - 1)).floorDivided(by: .fixed(divisor))
    }
    /// The quotient where it has no remainder for all values of the names; otherwise unknown.
    public func dividedExactly(by divisor: Extent) -> Extent { combined(divisor) { $0.dividedExactly(by: $1) } }
    /// The smaller one.
    public static func minimum(_ a: Extent, _ b: Extent) -> Extent {
        a.combined(b) { x, y in
            if let x = x.constant, let y = y.constant { return ExtentExpression(min(x, y)) }
            return ExtentExpression.call("min", [x, y])
        }
    }
    /// The larger one.
    public static func maximum(_ a: Extent, _ b: Extent) -> Extent {
        a.combined(b) { x, y in
            if let x = x.constant, let y = y.constant { return ExtentExpression(max(x, y)) }
            return ExtentExpression.call("max", [x, y])
        }
    }

    /// The product of all; 1 for none.
    public static func product(_ extents: some Sequence<Extent>) -> Extent { extents.reduce(.fixed(1), *) }

    /// What two statements about one extent say together; nil where they contradict.
    public func unified(with other: Extent) -> Extent? {
        switch (isKnown, other.isKnown) {
        case (false, _): return other.isKnown ? other : .unknown
        case (_, false): return self
        default: break
        }
        switch (self, other) {
        case (.fixed(let a), .fixed(let b)): return a == b ? self : nil
        case (.fixed, _): return self
        case (_, .fixed): return other
        case (.symbol(let a), .symbol(let b)): return b.utf8.count < a.utf8.count ? other : self
        default: return self
        }
    }

    /// The extent with names replaced.
    public func substituting(_ bindings: [String: Extent]) -> Extent {
        guard case .symbol = self, !bindings.isEmpty, let expression else { return self }
        return Extent(expression.substituting(bindings.compactMapValues(\.expression)))
    }

    /// The text as people read it: `4`, `2*H`, `?`.
    public var text: String {
        switch self {
        case .fixed(let value) where value >= 0: String(value)
        case .symbol(let text) where !text.isEmpty: text
        default: "?"
        }
    }
}

extension SymbolicShape {
    /// The number of elements.
    public var elementCount: Extent { Extent.product(extents) }

    /// Whether every extent is a number or an expression.
    public var isKnown: Bool { dimensions.allSatisfy(\.extent.isKnown) }

    /// The extents alone, without what the axes mean.
    public var plain: SymbolicShape { SymbolicShape(extents: extents) }

    /// What two statements about one shape say together; nil where they contradict.
    public func unified(with other: SymbolicShape) -> SymbolicShape? {
        guard rank == other.rank else { return nil }
        var result = self
        for index in 0..<rank {
            guard let extent = self[index].extent.unified(with: other[index].extent) else { return nil }
            result[index].extent = extent
        }
        return result
    }

    /// The shape that two shapes broadcast to by the rules of NumPy; nil where they do not fit.
    public func broadcast(with other: SymbolicShape) -> SymbolicShape? {
        let count = max(rank, other.rank)
        var result: [Extent] = []
        for index in 0..<count {
            let i = index - (count - rank)
            let j = index - (count - other.rank)
            guard i >= 0 else {
                result.append(other[j].extent)
                continue
            }
            guard j >= 0 else {
                result.append(self[i].extent)
                continue
            }
            guard let extent = Self.broadcast(self[i].extent, other[j].extent) else { return nil }
            result.append(extent)
        }
        return SymbolicShape(extents: result)
    }

    private static func broadcast(_ a: Extent, _ b: Extent) -> Extent? {
        if a == .fixed(1) { return b }
        if b == .fixed(1) { return a }
        switch (a.isKnown, b.isKnown) {
        case (true, true):
            if a == b { return a }
            switch (a, b) {
            case (.fixed, .fixed): return nil
            case (.fixed, _): return a
            case (_, .fixed): return b
            default: return .unknown
            }
        case (true, false): if case .fixed = a { return a } else { return .unknown }
        case (false, true): if case .fixed = b { return b } else { return .unknown }
        default: return .unknown
        }
    }
}
