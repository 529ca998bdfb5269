/// A table of text that fits a width: columns are aligned, and the widest text column gives way first.
struct Table {
    /// How a column's cells stand.
    enum Alignment {
        case left
        case right
    }

    private var columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    /// A table with the given column titles.
    init(_ columns: [(String, Alignment)]) { self.columns = columns }

    /// Adds a row with a cell a column.
    mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count)
        rows.append(cells)
    }

    /// The table as lines, none longer than `width` where the columns allow it.
    func text(width: Int = 80) -> String {
        var widths = columns.indices.map { column in
            max(columns[column].title.count, rows.map { $0[column].count }.max() ?? 0)
        }
        let gaps = 2 * (columns.count - 1)
        var excess = widths.reduce(0, +) + gaps - width
        while excess > 0,
            let widest = widths.indices.filter({ columns[$0].alignment == .left }).max(by: { widths[$0] < widths[$1] }),
            widths[widest] > 12
        {
            widths[widest] -= 1
            excess -= 1
        }
        var lines: [String] = []
        func line(_ cells: [String]) -> String {
            let parts = cells.indices.map { column -> String in
                let cell = Self.shortened(cells[column], to: widths[column])
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return columns[column].alignment == .left ? cell + padding : padding + cell
            }
            return Self.trimmed(parts.joined(separator: "  "))
        }
        if columns.contains(where: { !$0.title.isEmpty }) {
            lines.append(line(columns.map(\.title)))
            lines.append(String(repeating: "─", count: min(width, widths.reduce(0, +) + gaps)))
        }
        lines += rows.map(line)
        return lines.joined(separator: "\n")
    }

    /// The text with its middle left out where it is longer than `width`.
    static func shortened(_ text: String, to width: Int) -> String {
        guard text.count > width else { return text }
        let head = (width - 1) / 2
        return "\(text.prefix(head))…\(text.suffix(width - 1 - head))"
    }

    private static func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
