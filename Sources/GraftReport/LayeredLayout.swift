/// Places the boxes of a directed acyclic graph in rows from top to bottom, with few crossings.
///
/// The method of Sugiyama, Tagawa and Toda (1981): rows by the longest path, stand-ins where an edge crosses rows, an
/// order within rows by repeated means of neighbours, then horizontal places that pull boxes towards their neighbours.
package struct LayeredLayout {
    /// One box to place.
    package struct Box {
        /// The extent from left to right.
        package let width: Double
        /// The extent from top to bottom.
        package let height: Double

        package init(width: Double, height: Double) {
            self.width = width
            self.height = height
        }
    }

    /// The centre of each box.
    package private(set) var centers: [(x: Double, y: Double)] = []
    /// The points through which each edge runs, from box to box.
    package private(set) var routes: [[(x: Double, y: Double)]] = []
    /// The extent of the drawing.
    package private(set) var size: (width: Double, height: Double) = (0, 0)

    private let gapX = 18.0
    private let gapY = 26.0
    /// The most sweeps over all rows when ordering and when placing.
    private let sweeps = 12

    /// One place in a row: a box, or a stand-in for an edge that passes.
    private struct Slot {
        var width: Double
        var height: Double
        var row: Int
        var x = 0.0
        var above: [Int] = []
        var below: [Int] = []
        var isStandIn: Bool { height == 0 }
    }

    /// Places boxes whose edges run from earlier boxes to later ones.
    ///
    /// - Precondition: every edge leads from a lower index to a higher one.
    package init(_ boxes: [Box], edges: [(from: Int, to: Int)]) {
        var slots = boxes.map { Slot(width: $0.width, height: max($0.height, 1), row: 0) }
        for edge in edges.sorted(by: { $0.from < $1.from }) {
            slots[edge.to].row = max(slots[edge.to].row, slots[edge.from].row + 1)
        }
        Self.pullDown(&slots, edges: edges)
        var paths: [[Int]] = []
        for edge in edges {
            var path = [edge.from]
            for row in (slots[edge.from].row + 1)..<max(slots[edge.to].row, slots[edge.from].row + 1) {
                slots.append(Slot(width: 4, height: 0, row: row))
                path.append(slots.count - 1)
            }
            path.append(edge.to)
            for (a, b) in zip(path, path.dropFirst()) {
                slots[a].below.append(b)
                slots[b].above.append(a)
            }
            paths.append(path)
        }
        var rows = [[Int]](repeating: [], count: (slots.map(\.row).max() ?? -1) + 1)
        for index in slots.indices { rows[slots[index].row].append(index) }
        order(&rows, slots)
        place(rows, &slots)
        finish(rows, slots, boxCount: boxes.count, paths: paths)
    }

    /// Moves boxes that nothing feeds down to just above their first reader, so that no edge is longer than needed.
    private static func pullDown(_ slots: inout [Slot], edges: [(from: Int, to: Int)]) {
        var hasInput = Set<Int>()
        var firstReader: [Int: Int] = [:]
        for edge in edges {
            hasInput.insert(edge.to)
            firstReader[edge.from] = min(firstReader[edge.from] ?? .max, slots[edge.to].row)
        }
        for (index, row) in firstReader where !hasInput.contains(index) { slots[index].row = row - 1 }
    }

    private func order(_ rows: inout [[Int]], _ slots: [Slot]) {
        var position = [Double](repeating: 0, count: slots.count)
        func number(_ row: [Int]) { for (place, slot) in row.enumerated() { position[slot] = Double(place) } }
        for row in rows { number(row) }
        for sweep in 0..<sweeps {
            let down = sweep % 2 == 0
            for index in down ? Array(rows.indices) : rows.indices.reversed() {
                let keyed = rows[index].map { slot -> (key: Double, slot: Int) in
                    let neighbours = down ? slots[slot].above : slots[slot].below
                    guard !neighbours.isEmpty else { return (position[slot], slot) }
                    return (neighbours.reduce(0) { $0 + position[$1] } / Double(neighbours.count), slot)
                }
                rows[index] = keyed.enumerated().sorted { ($0.element.key, $0.offset) < ($1.element.key, $1.offset) }
                    .map(\.element.slot)
                number(rows[index])
            }
        }
    }

    private func place(_ rows: [[Int]], _ slots: inout [Slot]) {
        for row in rows {
            var at = 0.0
            for slot in row {
                slots[slot].x = at + slots[slot].width / 2
                at += slots[slot].width + gapX
            }
            let shift = (at - gapX) / 2
            for slot in row { slots[slot].x -= shift }
        }
        for sweep in 0..<(2 * sweeps) {
            let down = sweep % 2 == 0
            for index in down ? Array(rows.indices) : rows.indices.reversed() {
                pull(rows[index], &slots, towardsAbove: down)
            }
        }
    }

    /// Moves the boxes of a row towards the mean of their neighbours, as far as those beside them allow.
    ///
    /// Boxes that would overlap are joined to runs that share the mean of their wishes (isotonic regression).
    private func pull(_ row: [Int], _ slots: inout [Slot], towardsAbove: Bool) {
        var runs: [(wish: Double, weight: Double, count: Int)] = []
        var offsets: [Double] = []
        var offset = 0.0
        for (place, slot) in row.enumerated() {
            if place > 0 { offset += (slots[row[place - 1]].width + slots[slot].width) / 2 + gapX }
            offsets.append(offset)
            let neighbours = towardsAbove ? slots[slot].above : slots[slot].below
            // A box follows the boxes it is joined to; an edge that passes pulls little.
            let pulls = neighbours.map { slots[slot].isStandIn || !slots[$0].isStandIn ? 1.0 : 0.1 }
            let total = pulls.reduce(0, +)
            let mean =
                neighbours.isEmpty
                ? slots[slot].x : zip(neighbours, pulls).reduce(0) { $0 + slots[$1.0].x * $1.1 } / total
            // Long edges stay straight before boxes move.
            let weight = neighbours.isEmpty ? 0.2 : slots[slot].isStandIn ? 3.0 : 1.0
            runs.append((mean - offset, weight, 1))
            while runs.count > 1, runs[runs.count - 2].wish > runs[runs.count - 1].wish {
                let b = runs.removeLast()
                let a = runs.removeLast()
                let weight = a.weight + b.weight
                runs.append(((a.wish * a.weight + b.wish * b.weight) / weight, weight, a.count + b.count))
            }
        }
        var place = 0
        for run in runs {
            for _ in 0..<run.count {
                slots[row[place]].x = run.wish + offsets[place]
                place += 1
            }
        }
    }

    private mutating func finish(_ rows: [[Int]], _ slots: [Slot], boxCount: Int, paths: [[Int]]) {
        let left = slots.map { $0.x - $0.width / 2 }.min() ?? 0
        let right = slots.map { $0.x + $0.width / 2 }.max() ?? 0
        var y = 0.0
        var rowY: [Double] = []
        for row in rows {
            let height = row.map { slots[$0].height }.max() ?? 0
            rowY.append(y + height / 2)
            y += height + gapY
        }
        func point(_ slot: Int) -> (x: Double, y: Double) { (slots[slot].x - left, rowY[slots[slot].row]) }
        centers = (0..<boxCount).map(point)
        routes = paths.map { $0.map(point) }
        size = (max(right - left, 1), max(y - gapY, 1))
    }
}
