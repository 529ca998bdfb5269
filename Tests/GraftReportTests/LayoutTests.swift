import GraftReport
import Testing

@Suite struct LayoutTests {
    /// Blocks of four boxes with a bypass, as in a residual network.
    static func residual(_ blocks: Int) -> ([(Double, Double)], [(from: Int, to: Int)]) {
        var edges: [(from: Int, to: Int)] = []
        for block in 0..<blocks {
            let base = block * 4
            edges += [(base, base + 1), (base + 1, base + 2), (base + 2, base + 3), (base, base + 3)]
            if block > 0 { edges.append((base - 1, base)) }
        }
        return ((0..<(blocks * 4)).map { (60 + Double($0 % 5) * 20, 40) }, edges)
    }

    @Test(arguments: [1, 3, 40, 125])
    func boxesDoNotOverlapAndEdgesRunDown(blocks: Int) {
        let (boxes, edges) = Self.residual(blocks)
        let layout = LayeredLayout(boxes.map { .init(width: $0.0, height: $0.1) }, edges: edges)
        for edge in edges { #expect(layout.centers[edge.from].y < layout.centers[edge.to].y) }
        for a in boxes.indices {
            for b in boxes.indices where b > a && layout.centers[a].y == layout.centers[b].y {
                #expect(abs(layout.centers[a].x - layout.centers[b].x) >= (boxes[a].0 + boxes[b].0) / 2)
            }
        }
        for (index, center) in layout.centers.enumerated() {
            #expect(center.x - boxes[index].0 / 2 >= -1e-6 && center.x + boxes[index].0 / 2 <= layout.size.width + 1e-6)
            #expect(center.y <= layout.size.height)
        }
    }

    @Test func aChainIsAStraightLine() {
        let layout = LayeredLayout(
            (0..<30).map { .init(width: 40 + Double($0), height: 20) }, edges: (1..<30).map { ($0 - 1, $0) })
        for center in layout.centers { #expect(abs(center.x - layout.centers[0].x) < 1e-6) }
    }

    @Test func aWideFanStaysInOneRow() {
        let layout = LayeredLayout(
            (0..<22).map { _ in .init(width: 50, height: 20) },
            edges: (1...20).map { (0, $0) } + (1...20).map { ($0, 21) })
        #expect(Set((1...20).map { layout.centers[$0].y }).count == 1)
        #expect(abs(layout.centers[0].x - layout.size.width / 2) < 1)
    }

    @Test func nothingIsNothing() {
        #expect(LayeredLayout([], edges: []).centers.isEmpty)
    }

    @Test func theDrawingNamesEveryBox() {
        let (boxes, edges) = Self.residual(4)
        let svg = Diagram(
            title: "a <b>",
            boxes: boxes.indices.map { .init(title: "box \($0)&", lines: ["3×3"], isTrainable: $0 > 8) },
            edges: edges.map { ($0.from, $0.to, "") }
        ).svg()
        for index in boxes.indices { #expect(svg.contains(">box \(index)&amp;</text>")) }
        #expect(svg.contains("a &lt;b&gt;"))
    }
}
