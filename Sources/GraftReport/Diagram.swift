/// A drawing of boxes and arrows from top to bottom, as an SVG file.
public struct Diagram {
    /// One box.
    public struct Box: Sendable {
        /// How the box is coloured.
        public enum Style: String, Sendable, CaseIterable {
            case input, convolution, linear, normalization, pooling, activation, merge, other, output
        }

        /// The first line, in bold.
        public var title: String
        /// Further lines.
        public var lines: [String]
        /// How the box is coloured.
        public var style: Style
        /// Whether the box is drawn as learning; others are drawn pale.
        public var isTrainable: Bool

        /// A box.
        public init(title: String, lines: [String] = [], style: Style = .other, isTrainable: Bool = false) {
            self.title = title
            self.lines = lines
            self.style = style
            self.isTrainable = isTrainable
        }
    }

    private let title: String
    private let boxes: [Box]
    private let edges: [(from: Int, to: Int, label: String)]

    /// A drawing.
    ///
    /// - Parameter edges: from an earlier box to a later one, with what flows; others are left out.
    public init(title: String, boxes: [Box], edges: [(from: Int, to: Int, label: String)]) {
        self.title = title
        self.boxes = boxes
        self.edges = edges.filter {
            boxes.indices.contains($0.from) && boxes.indices.contains($0.to) && $0.from < $0.to
        }
    }

    private static let fontWidth = 6.6
    private static let lineHeight = 15.0
    private static let margin = 24.0
    private static let longestLine = 44

    /// The drawing as an SVG document.
    public func svg() -> String {
        let shown = boxes.map { box in ([box.title] + box.lines).map(Self.shortened) }
        let sizes = shown.map { lines in
            LayeredLayout.Box(
                width: Double(lines.map(\.count).max() ?? 0) * Self.fontWidth + 20,
                height: Double(lines.count) * Self.lineHeight + 10)
        }
        let layout = LayeredLayout(sizes, edges: edges.map { ($0.from, $0.to) })
        let top = Self.margin + 24
        let width = max(layout.size.width + 2 * Self.margin, Double(title.count) * 8 + 2 * Self.margin)
        let left = (width - layout.size.width) / 2
        let height = layout.size.height + top + Self.margin
        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Markup.number(width)) \(Markup.number(height))" \
            width="\(Markup.number(width))" height="\(Markup.number(height))">
            <title>\(Markup.escape(title))</title>
            <style>\(Self.style)</style>
            <defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">\
            <path d="M0 0.5L8 4L0 7.5z" fill="#77828d"/></marker></defs>
            <rect class="paper" width="100%" height="100%"/>
            <text class="head" x="\(Markup.number(Self.margin))" y="28">\(Markup.escape(title))</text>

            """
        for (edge, route) in zip(edges, layout.routes) {
            var points = route.map { (x: $0.x + left, y: $0.y + top) }
            points[0].y += sizes[edge.from].height / 2
            points[points.count - 1].y -= sizes[edge.to].height / 2
            svg += "<path class=\"e\" d=\"\(Self.curve(points))\" marker-end=\"url(#a)\"/>\n"
            if !edge.label.isEmpty, points.count == 2 {
                svg += "<text class=\"l\" x=\"\(Markup.number((points[0].x + points[1].x) / 2 + 5))\" "
                svg +=
                    "y=\"\(Markup.number((points[0].y + points[1].y) / 2 + 3))\">\(Markup.escape(edge.label))</text>\n"
            }
        }
        for (index, box) in boxes.enumerated() {
            let center = layout.centers[index]
            let x = center.x + left - sizes[index].width / 2
            let y = center.y + top - sizes[index].height / 2
            svg += "<g class=\"b \(box.style.rawValue)\(box.isTrainable ? " on" : "")\">"
            svg += "<rect rx=\"5\" x=\"\(Markup.number(x))\" y=\"\(Markup.number(y))\" "
            svg += "width=\"\(Markup.number(sizes[index].width))\" height=\"\(Markup.number(sizes[index].height))\"/>"
            for (line, text) in shown[index].enumerated() {
                svg += "<text\(line == 0 ? " class=\"t\"" : "") x=\"\(Markup.number(center.x + left))\" "
                svg +=
                    "y=\"\(Markup.number(y + 5 + Self.lineHeight * (Double(line) + 0.75)))\">\(Markup.escape(text))</text>"
            }
            svg += "</g>\n"
        }
        return svg + "</svg>\n"
    }

    private static func shortened(_ text: String) -> String {
        guard text.count > longestLine else { return text }
        return "\(text.prefix(longestLine / 2 - 1))…\(text.suffix(longestLine / 2))"
    }

    /// A smooth path through points, vertical at both ends.
    private static func curve(_ points: [(x: Double, y: Double)]) -> String {
        var path = "M\(Markup.number(points[0].x)) \(Markup.number(points[0].y))"
        for (a, b) in zip(points, points.dropFirst()) {
            let middle = (a.y + b.y) / 2
            path += "C\(Markup.number(a.x)) \(Markup.number(middle)) \(Markup.number(b.x)) \(Markup.number(middle)) "
            path += "\(Markup.number(b.x)) \(Markup.number(b.y))"
        }
        return path
    }

    private static let style = """
        .paper{fill:#fff}text{font:11px ui-monospace,Menlo,Consolas,monospace;text-anchor:middle;fill:#2a3138}
        .head{font:600 15px system-ui,sans-serif;text-anchor:start}.t{font-weight:700}
        .l{font-size:9px;fill:#77828d;text-anchor:start}.e{fill:none;stroke:#9aa5b0;stroke-width:1.2}
        .b rect{stroke-width:1.2;fill:#eef1f4;stroke:#b7c0c9}.on rect{stroke-width:2.4;stroke:#c5433c}
        .input rect,.output rect{fill:#fdf3d7;stroke:#d9b44a}.convolution rect{fill:#dde9f7;stroke:#7da3d1}
        .linear rect{fill:#e4ddf3;stroke:#9d87c9}.normalization rect{fill:#e2f1e7;stroke:#86bb9a}
        .pooling rect{fill:#fbe5d8;stroke:#dc9a6d}.merge rect{fill:#fbdfe3;stroke:#d1838f}
        .b.on rect{stroke:#c5433c}
        """
}
