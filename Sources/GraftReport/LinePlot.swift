#if canImport(Glibc)
import Glibc
#endif

/// A plot of lines over steps, as SVG that a page can hold.
struct LinePlot {
    /// One line.
    struct Line {
        let name: String
        let points: [(x: Double, y: Double)]
        /// The class that gives the line its colour.
        let style: Int
        var isFaint = false
        var hasDots = false
    }

    /// A part of the horizontal axis that is set off.
    struct Band {
        let name: String
        let from: Double
        let to: Double
    }

    let title: String
    let lines: [Line]
    let bands: [Band]
    var isLogarithmic = false
    var isPercent = false
    /// The range of the vertical axis where it is fixed.
    var range: ClosedRange<Double>?

    static let width = 640.0
    static let height = 280.0
    private let left = 56.0
    private let right = 14.0
    private let top = 30.0
    private let bottom = 34.0

    /// The plot as an `svg` element; nil where no line has a point.
    func svg() -> String? {
        let finite = lines.map { line in
            Line(
                name: line.name,
                points: line.points.filter { $0.y.isFinite && (!isLogarithmic || $0.y > 0) }, style: line.style,
                isFaint: line.isFaint, hasDots: line.hasDots)
        }.filter { !$0.points.isEmpty }
        guard let bounds = bounds(of: finite) else { return nil }
        let ticksX = Self.ticks(bounds.x)
        let ticksY = isLogarithmic ? Self.decades(bounds.y) : Self.ticks(bounds.y)
        var svg = """
            <svg viewBox="0 0 \(Markup.number(Self.width)) \(Markup.number(Self.height))" role="img" \
            aria-label="\(Markup.escape(title))">
            <title>\(Markup.escape(title))</title>

            """
        func x(_ value: Double) -> Double {
            left + (value - bounds.x.lowerBound) / (bounds.x.upperBound - bounds.x.lowerBound)
                * (Self.width - left - right)
        }
        func y(_ value: Double) -> Double {
            let (v, low, high) =
                isLogarithmic
                ? (log10(value), log10(bounds.y.lowerBound), log10(bounds.y.upperBound))
                : (value, bounds.y.lowerBound, bounds.y.upperBound)
            return Self.height - bottom - (v - low) / (high - low) * (Self.height - top - bottom)
        }
        for (index, band) in bands.enumerated() {
            let start = max(x(band.from), left)
            let end = min(x(band.to), Self.width - right)
            guard end > start else { continue }
            svg += "<rect class=\"band\(index % 2)\" x=\"\(Markup.number(start))\" y=\"\(Markup.number(top))\" "
            svg += "width=\"\(Markup.number(end - start))\" height=\"\(Markup.number(Self.height - top - bottom))\"/>\n"
            if end - start > Double(band.name.count) * 6 {
                svg +=
                    "<text class=\"band\" x=\"\(Markup.number((start + end) / 2))\" y=\"\(Markup.number(top + 12))\">"
                svg += "\(Markup.escape(band.name))</text>\n"
            }
        }
        for tick in ticksY {
            let at = Markup.number(y(tick))
            svg += "<line class=\"grid\" x1=\"\(Markup.number(left))\" x2=\"\(Markup.number(Self.width - right))\" "
            svg += "y1=\"\(at)\" y2=\"\(at)\"/><text class=\"y\" x=\"\(Markup.number(left - 6))\" y=\"\(at)\">"
            svg += "\(isPercent ? Markup.figure(tick * 100) + " %" : Markup.figure(tick))</text>\n"
        }
        for tick in ticksX where tick == tick.rounded() {
            svg +=
                "<text class=\"x\" x=\"\(Markup.number(x(tick)))\" y=\"\(Markup.number(Self.height - bottom + 16))\">"
            svg += "\(Markup.count(Int(tick)))</text>\n"
        }
        for line in finite {
            let points = Self.thinned(line.points).map { "\(Markup.number(x($0.x))),\(Markup.number(y($0.y)))" }
            svg += "<polyline class=\"c\(line.style % 8)\(line.isFaint ? " faint" : "")\" "
            svg += "points=\"\(points.joined(separator: " "))\"/>\n"
            if line.hasDots && line.points.count <= 200 {
                for point in line.points {
                    svg += "<circle class=\"c\(line.style % 8)\" r=\"2.5\" cx=\"\(Markup.number(x(point.x)))\" "
                    svg += "cy=\"\(Markup.number(y(point.y)))\"/>\n"
                }
            }
        }
        svg += legend(finite.filter { !$0.isFaint })
        svg += "<text class=\"x\" x=\"\(Markup.number((left + Self.width - right) / 2))\" "
        svg += "y=\"\(Markup.number(Self.height - 4))\">step</text>\n</svg>"
        return svg
    }

    private func legend(_ lines: [Line]) -> String {
        var svg = "<text class=\"title\" x=\"\(Markup.number(left))\" y=\"16\">\(Markup.escape(title))</text>\n"
        guard lines.count > 1 else { return svg }
        var at = Self.width - right
        for line in lines.suffix(8).reversed() {
            at -= Double(line.name.count) * 6.4 + 22
            guard at > left + Double(title.count) * 8 else { break }
            svg += "<line class=\"c\(line.style % 8)\" x1=\"\(Markup.number(at))\" x2=\"\(Markup.number(at + 12))\" "
            svg += "y1=\"12\" y2=\"12\"/><text class=\"legend\" x=\"\(Markup.number(at + 16))\" y=\"16\">"
            svg += "\(Markup.escape(line.name))</text>\n"
        }
        return svg
    }

    private func bounds(of lines: [Line]) -> (x: ClosedRange<Double>, y: ClosedRange<Double>)? {
        let points = lines.flatMap(\.points)
        guard var lowX = points.map(\.x).min(), var highX = points.map(\.x).max(), var low = points.map(\.y).min(),
            var high = points.map(\.y).max()
        else { return nil }
        if let first = bands.map(\.from).min() { lowX = min(lowX, first) }
        if let last = bands.map(\.to).max() { highX = max(highX, last) }
        if highX <= lowX { highX = lowX + 1 }
        if let range { return (lowX...highX, range) }
        if isLogarithmic {
            if high <= low * 1.01 { (low, high) = (low / 2, high * 2) }
            return (lowX...highX, (low / 1.3)...(high * 1.3))
        }
        let margin = max((high - low) * 0.06, abs(high) * 1e-3, 1e-9)
        low = low >= 0 ? max(0, low - margin) : low - margin
        high += margin
        return (lowX...highX, low...high)
    }

    /// Round numbers within a range, about five.
    static func ticks(_ range: ClosedRange<Double>) -> [Double] {
        let span = range.upperBound - range.lowerBound
        guard span > 0, span.isFinite else { return [] }
        let rough = span / 5
        let magnitude = pow(10, floor(log10(rough)))
        let step = [1, 2, 2.5, 5, 10].map { $0 * magnitude }.first { $0 >= rough } ?? rough
        let first = (range.lowerBound / step).rounded(.up)
        let last = (range.upperBound / step).rounded(.down)
        guard last >= first, last - first < 100 else { return [] }
        return stride(from: first, through: last, by: 1).map { $0 * step }
    }

    /// Powers of ten within a range, or round numbers where it spans less than two.
    static func decades(_ range: ClosedRange<Double>) -> [Double] {
        let first = log10(range.lowerBound).rounded(.up)
        let last = log10(range.upperBound).rounded(.down)
        guard last > first else { return ticks(range).filter { $0 > 0 } }
        return stride(from: first, through: last, by: 1).map { pow(10, $0) }
    }

    /// At most about a thousand points: of each run of neighbours the lowest and the highest.
    static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        guard points.count > 1200 else { return points }
        let group = (points.count + 499) / 500
        var result: [(x: Double, y: Double)] = []
        for start in stride(from: 0, to: points.count, by: group) {
            let part = points[start..<min(start + group, points.count)]
            let low = part.min { $0.y < $1.y }
            let high = part.max { $0.y < $1.y }
            if let low, let high { result += low.x <= high.x ? [low, high] : [high, low] }
        }
        return result
    }
}
