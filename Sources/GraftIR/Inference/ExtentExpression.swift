/// A polynomial with integer coefficients over named extents, in one canonical form: two expressions that are equal by
/// the rules of rings and of floor division have the same text.
///
/// The text is what a file holds as `dim_param`: `N`, `2*H`, `(W+1)//2`. Every operation is nil where a number would
/// overflow or the expression would grow beyond ``textLimit``.
struct ExtentExpression: Hashable {
    /// A factor that is not a number.
    indirect enum Atom: Hashable {
        /// A name.
        case name(String)
        /// The quotient, rounded down.
        case floorDivision(ExtentExpression, ExtentExpression)
        /// A function such as `min(H, 5)`.
        case call(String, [ExtentExpression])
    }

    /// A product of atoms with its coefficient.
    struct Term: Hashable {
        /// The factors, sorted by their text; none for the constant term.
        var atoms: [Atom]
        /// The number in front; never 0.
        var coefficient: Int
    }

    /// The longest text of an expression; what would be longer counts as unknown.
    static let textLimit = 300

    /// The terms, sorted by their text, the constant last.
    private(set) var terms: [Term]

    /// A number.
    init(_ value: Int) { terms = value == 0 ? [] : [Term(atoms: [], coefficient: value)] }

    /// A product of one atom.
    init(_ atom: Atom) { terms = [Term(atoms: [atom], coefficient: 1)] }

    private init(canonical terms: [Term]) { self.terms = terms }

    /// The number, where there are no names.
    var constant: Int? {
        if terms.isEmpty { return 0 }
        return terms.count == 1 && terms[0].atoms.isEmpty ? terms[0].coefficient : nil
    }

    // MARK: Arithmetic

    func adding(_ other: ExtentExpression) -> ExtentExpression? { Self.collect(terms + other.terms) }

    func multiplied(by other: ExtentExpression) -> ExtentExpression? {
        guard terms.count * other.terms.count <= 64 else { return nil }
        var products: [Term] = []
        for a in terms {
            for b in other.terms {
                let (coefficient, overflow) = a.coefficient.multipliedReportingOverflow(by: b.coefficient)
                guard !overflow else { return nil }
                products.append(Term(atoms: a.atoms + b.atoms, coefficient: coefficient))
            }
        }
        return Self.collect(products)
    }

    func negated() -> ExtentExpression? { multiplied(by: ExtentExpression(-1)) }

    /// The quotient where the division has no remainder for all values of the names.
    func dividedExactly(by divisor: ExtentExpression) -> ExtentExpression? {
        if self == divisor, !terms.isEmpty { return ExtentExpression(1) }
        guard divisor.terms.count == 1, let by = divisor.terms.first else { return nil }
        var quotients: [Term] = []
        for term in terms {
            guard term.coefficient.isMultiple(of: by.coefficient) else { return nil }
            var atoms = term.atoms
            for atom in by.atoms {
                guard let index = atoms.firstIndex(of: atom) else { return nil }
                atoms.remove(at: index)
            }
            quotients.append(Term(atoms: atoms, coefficient: term.coefficient / by.coefficient))
        }
        return Self.collect(quotients)
    }

    /// The quotient rounded down; what divides exactly is taken out of the division.
    func floorDivided(by divisor: ExtentExpression) -> ExtentExpression? {
        if let exact = dividedExactly(by: divisor) { return exact }
        guard let number = divisor.constant else {
            return ExtentExpression(.floorDivision(self, divisor)).bounded
        }
        guard number > 0 else { return nil }
        if let value = constant { return ExtentExpression(floorQuotient(value, number)) }
        var whole: [Term] = []
        var rest: [Term] = []
        for term in terms {
            if term.atoms.isEmpty {
                let quotient = floorQuotient(term.coefficient, number)
                whole.append(Term(atoms: [], coefficient: quotient))
                rest.append(Term(atoms: [], coefficient: term.coefficient - quotient * number))
            } else if term.coefficient.isMultiple(of: number) {
                whole.append(Term(atoms: term.atoms, coefficient: term.coefficient / number))
            } else {
                rest.append(term)
            }
        }
        guard let wholePart = Self.collect(whole), let restPart = Self.collect(rest) else { return nil }
        if restPart.constant != nil { return wholePart }
        return restPart.nestedFloorDivision(by: number)?.adding(wholePart)
    }

    /// `(a//b + c)//d` is `(a + b*c)//(b*d)`: one division for chains of strided windows.
    private func nestedFloorDivision(by number: Int) -> ExtentExpression? {
        let divisions = terms.filter { !$0.atoms.isEmpty }
        if divisions.count == 1, divisions[0].coefficient == 1, divisions[0].atoms.count == 1,
            case .floorDivision(let numerator, let inner) = divisions[0].atoms[0], let innerNumber = inner.constant
        {
            let offset = terms.first { $0.atoms.isEmpty }?.coefficient ?? 0
            let (product, overflow) = innerNumber.multipliedReportingOverflow(by: number)
            let (shift, shiftOverflow) = innerNumber.multipliedReportingOverflow(by: offset)
            guard !overflow, !shiftOverflow, let sum = numerator.adding(ExtentExpression(shift)) else { return nil }
            return sum.floorDivided(by: ExtentExpression(product))
        }
        return ExtentExpression(.floorDivision(self, ExtentExpression(number))).bounded
    }

    /// A function of several expressions, with the arguments of `min` and `max` in one order.
    static func call(_ name: String, _ arguments: [ExtentExpression]) -> ExtentExpression? {
        if name == "min" || name == "max" {
            let constants = arguments.compactMap(\.constant)
            var rest = Set(arguments.filter { $0.constant == nil }).sorted { $0.text < $1.text }
            if let folded = name == "min" ? constants.min() : constants.max() { rest.append(ExtentExpression(folded)) }
            if rest.count == 1 { return rest[0] }
            return ExtentExpression(.call(name, rest)).bounded
        }
        return ExtentExpression(.call(name, arguments)).bounded
    }

    /// Replaces names by expressions.
    func substituting(_ bindings: [String: ExtentExpression]) -> ExtentExpression? {
        var sum: ExtentExpression? = ExtentExpression(0)
        for term in terms {
            var product: ExtentExpression? = ExtentExpression(term.coefficient)
            for atom in term.atoms {
                let factor: ExtentExpression? =
                    switch atom {
                    case .name(let name): bindings[name] ?? ExtentExpression(atom)
                    case .floorDivision(let a, let b):
                        if let a = a.substituting(bindings), let b = b.substituting(bindings) {
                            a.floorDivided(by: b)
                        } else {
                            nil
                        }
                    case .call(let name, let arguments):
                        Self.call(name, arguments.compactMap { $0.substituting(bindings) })
                    }
                guard let factor else { return nil }
                product = product?.multiplied(by: factor)
            }
            guard let product else { return nil }
            sum = sum?.adding(product)
        }
        return sum
    }

    // MARK: Canonical form

    private static func collect(_ terms: [Term]) -> ExtentExpression? {
        var sums: [(key: String, term: Term)] = []
        var positions: [String: Int] = [:]
        for var term in terms where term.coefficient != 0 {
            if term.atoms.count > 1 { term.atoms.sort { $0.text < $1.text } }
            let key = term.atoms.map(\.text).joined(separator: "*")
            if let position = positions[key] {
                let (sum, overflow) = sums[position].term.coefficient.addingReportingOverflow(term.coefficient)
                guard !overflow else { return nil }
                sums[position].term.coefficient = sum
            } else {
                positions[key] = sums.count
                sums.append((key, term))
            }
        }
        let sorted = sums.filter { $0.term.coefficient != 0 }
            .sorted { a, b in
                if a.term.atoms.isEmpty != b.term.atoms.isEmpty { return b.term.atoms.isEmpty }
                return a.key < b.key
            }
        return ExtentExpression(canonical: sorted.map(\.term)).bounded
    }

    private var bounded: ExtentExpression? { text.utf8.count <= Self.textLimit ? self : nil }

    private func floorQuotient(_ value: Int, _ divisor: Int) -> Int {
        let quotient = value / divisor
        return value % divisor != 0 && (value < 0) != (divisor < 0) ? quotient - 1 : quotient
    }

    // MARK: Text

    /// The canonical text.
    var text: String {
        if terms.isEmpty { return "0" }
        var result = ""
        for (index, term) in terms.enumerated() {
            let magnitude = term.coefficient.magnitude
            let negative = term.coefficient < 0
            if index == 0 {
                if negative { result += "-" }
            } else if term.atoms.isEmpty {
                result += negative ? "-" : "+"
            } else {
                // Blanks keep "a - b" apart from a name with a hyphen, "a-b".
                result += negative ? " - " : "+"
            }
            if term.atoms.isEmpty {
                result += String(magnitude)
            } else {
                if magnitude != 1 { result += "\(magnitude)*" }
                let several = term.atoms.count > 1 || magnitude != 1
                result += term.atoms.map { several ? $0.factorText : $0.text }.joined(separator: "*")
            }
        }
        return result
    }

    fileprivate var operandText: String {
        if let constant { return String(constant) }
        if terms.count == 1, terms[0].coefficient == 1, terms[0].atoms.count == 1 {
            return terms[0].atoms[0].factorText
        }
        return "(\(text))"
    }
}

extension ExtentExpression.Atom {
    /// The canonical text.
    var text: String {
        switch self {
        case .name(let name): name
        case .floorDivision(let a, let b): "\(a.operandText)//\(b.operandText)"
        case .call(let name, let arguments): "\(name)(\(arguments.map(\.text).joined(separator: ", ")))"
        }
    }

    fileprivate var factorText: String {
        if case .floorDivision = self { "(\(text))" } else { text }
    }
}
