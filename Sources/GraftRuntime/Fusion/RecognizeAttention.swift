import GraftCore
import GraftIR

/// Attention that exporters write as products, a softmax and what lies between them becomes one node.
///
/// Given: `Softmax(scale Q K' + masks) V` with Q, K and V of rank 3 or 4, the scale at the scores, at Q, at K or at both.
/// Result: FusedAttention, which also does the Transposes that bring heads in front of rows and back, and reads Q, K and V
/// where one product has made them together.
enum RecognizeAttention: PlanPass {
    static func apply(to graph: inout PlanGraph, options: PlanOptions) throws {
        for index in graph.nodes.indices { try moveTransposeBehind(index, &graph) }
        for index in graph.nodes.indices {
            guard let softmax = graph.nodes[index], softmax.op.isONNX("Softmax"),
                let match = match(softmax, graph)
            else { continue }
            replace(match, &graph)
            graph.refresh()
        }
    }

    /// The parts of an attention.
    private struct Match {
        var rank: Int
        var scale: Float
        var q: Int
        var k: Int
        /// Whether the keys have their rows in front of the heads.
        var isKeyRows: Bool
        var v: Int
        var masks: [Int]
        /// The product with the values.
        var last: Int
    }

    private static func match(_ softmax: PlanNode, _ graph: PlanGraph) -> Match? {
        guard let scores = softmax.inputs.first ?? nil, let weights = softmax.outputs.first ?? nil,
            let reader = graph.onlyReader(of: weights), let outer = graph.nodes[reader.node], outer.op.isONNX("MatMul"),
            reader.input == 0, outer.inputs.count == 2, let v = outer.inputs[1], let rank = rank(v, graph),
            rank == 3 || rank == 4
        else { return nil }
        let axis = softmax.attributes.int("axis") ?? (softmax.opset < 13 ? 1 : -1)
        guard axis == -1 || axis == rank - 1, self.rank(scores, graph) == rank else { return nil }
        var masks: [Int] = []
        var scale: Float = 1
        var slot = scores
        while let add = graph.soleWriter(slot, "Add").flatMap({ graph.nodes[$0] }), masks.count < 2 {
            // The scores are the operand that leads to a product.
            guard
                let (mask, next) = graph.operandPairs(add).first(where: { leadsToProduct($0.second, graph) }),
                let size = self.rank(mask, graph), (1...rank).contains(size)
            else { return nil }
            masks.append(mask)
            slot = next
        }
        slot = unscaled(slot, rank, &scale, graph)
        guard let product = graph.soleWriter(slot, "MatMul").flatMap({ graph.nodes[$0] }), product.inputs.count == 2,
            var q = product.inputs[0], var k = product.inputs[1]
        else { return nil }
        q = unscaled(q, rank, &scale, graph)
        k = unscaled(k, rank, &scale, graph)
        guard let transpose = graph.maker(k, "Transpose")?.node, let perm = transpose.attributes.ints("perm"),
            let source = transpose.inputs.first ?? nil
        else { return nil }
        let isKeyRows = perm == [0, 2, 3, 1]
        guard isKeyRows || perm == lastTwoSwapped(rank) else { return nil }
        k = isKeyRows ? source : unscaled(source, rank, &scale, graph)
        guard self.rank(q, graph) == rank, self.rank(k, graph) == rank, graph.lastExtents(q, 1) != nil else {
            return nil
        }
        return Match(
            rank: rank, scale: scale, q: q, k: k, isKeyRows: isKeyRows, v: v, masks: masks, last: reader.node)
    }

    /// The rank of a value that is known to hold 32-bit floating-point numbers.
    private static func rank(_ slot: Int, _ graph: PlanGraph) -> Int? {
        if let constant = graph.constants[slot] {
            return constant.elementType == .float32 ? constant.shape?.count : nil
        }
        guard let type = graph.types[slot], type.elementType == .float32 else { return nil }
        return type.shape?.rank
    }

    /// Whether a value is a product, scaled or not, with at most some masks added to it.
    private static func leadsToProduct(_ slot: Int, masks: Int = 1, _ graph: PlanGraph) -> Bool {
        var scale: Float = 1
        let source = unscaled(slot, 4, &scale, graph)
        if graph.soleWriter(source, "MatMul") != nil { return true }
        guard source == slot, masks > 0, let add = graph.soleWriter(slot, "Add").flatMap({ graph.nodes[$0] }) else {
            return false
        }
        return graph.operandPairs(add).contains { leadsToProduct($0.second, masks: masks - 1, graph) }
    }

    /// The value behind products with single numbers, which go into the scale.
    private static func unscaled(_ slot: Int, _ rank: Int, _ scale: inout Float, _ graph: PlanGraph) -> Int {
        var slot = slot
        search: while graph.onlyReader(of: slot) != nil, let (_, node) = graph.maker(slot, "Mul", "Div"),
            node.opset >= 7
        {
            for (source, number) in graph.operandPairs(node) {
                guard let factor = graph.factor(number, rank: rank), factor.isFinite, factor > 0 else { continue }
                scale = node.op.isONNX("Mul") ? scale * factor : scale / factor
                slot = source
                continue search
            }
            break
        }
        return slot
    }

    /// Where stacked matrices are transposed and then only the axes in front of them regrouped, as for keys, does it the
    /// other way round, so that the Transpose stands before the product.
    private static func moveTransposeBehind(_ index: Int, _ graph: inout PlanGraph) throws {
        guard let reshape = graph.nodes[index], reshape.op.isONNX("Reshape"), reshape.opset >= 5,
            let output = reshape.outputs.first ?? nil, let turned = reshape.inputs.first ?? nil,
            let place = graph.soleWriter(turned, "Transpose"), let transpose = graph.nodes[place],
            let source = transpose.inputs.first ?? nil, let before = graph.types[turned]?.shape?.extents,
            let type = graph.types[output], let after = type.shape?.extents, before.count >= 3, after.count >= 3,
            before.suffix(2) == after.suffix(2), after.suffix(2).allSatisfy(\.isKnown),
            transpose.attributes.ints("perm") == lastTwoSwapped(before.count), !after.contains(.fixed(0))
        else { return }
        let extents = after.dropLast(2) + after.suffix(2).reversed()
        let counts = extents.map { if case .fixed(let count) = $0, count > 0 { Int64(count) } else { Int64(-1) } }
        guard counts.count(where: { $0 == -1 }) <= 1 else { return }
        let shape = graph.addSlot("\(reshape.name)/shape", constant: try RuntimeValue(Tensor(counts)))
        let regrouped = graph.addSlot(
            "\(reshape.name)/regrouped", type: .tensor(type.elementType, SymbolicShape(extents: Array(extents))))
        graph.nodes[place] = PlanNode(
            name: reshape.name, op: "Reshape", opset: max(13, reshape.opset), inputs: [source, shape],
            outputs: [regrouped])
        let perm = lastTwoSwapped(after.count).map(Int64.init)
        graph.nodes[index] = PlanNode(
            name: transpose.name, op: "Transpose", opset: transpose.opset, attributes: ["perm": .ints(perm)],
            inputs: [regrouped], outputs: [output])
        graph.refresh()
    }

    private static func lastTwoSwapped(_ rank: Int) -> [Int] { Array(0..<(rank - 2)) + [rank - 1, rank - 2] }

    private static func replace(_ match: Match, _ graph: inout PlanGraph) {
        guard let node = graph.nodes[match.last], var output = node.outputs.first ?? nil else { return }
        let q = operand(match.q, match.rank, graph)
        let k = match.isKeyRows ? Operand(slot: match.k, isRowsFirst: true) : operand(match.k, match.rank, graph)
        let v = operand(match.v, match.rank, graph)
        var last = match.last
        var isResultRows = false
        if match.rank == 4, let reader = graph.onlyReader(of: output), let next = graph.nodes[reader.node],
            next.op.isONNX("Transpose"), next.attributes.ints("perm") == [0, 2, 1, 3],
            let result = next.outputs.first ?? nil
        {
            (last, output, isResultRows) = (reader.node, result, true)
        }
        let order = [q.isRowsFirst, k.isRowsFirst, v.isRowsFirst, isResultRows].map { $0 ? Int64(1) : 0 }
        graph.nodes[last] = PlanNode(
            name: node.name, op: OperatorName("FusedAttention", domain: graftDomain), opset: 1,
            attributes: [
                "scale": .float(match.scale), "rows_first": .ints(order),
                "parts": .ints([q, k, v].map { Int64($0.part ?? -1) }),
            ], inputs: [q.slot, k.slot, v.slot] + match.masks, outputs: [output])
    }

    /// Where the kernel reads Q, K or V.
    private struct Operand {
        var slot: Int
        /// Whether its shape is (batch, rows, heads, size) instead of (batch, heads, rows, size).
        var isRowsFirst = false
        /// Which of the parts it is, where the shape is (batch, rows, parts, heads, size).
        var part: Int?
    }

    /// What lies behind a Transpose that brings heads in front of rows.
    private static func operand(_ slot: Int, _ rank: Int, _ graph: PlanGraph) -> Operand {
        guard rank == 4 else { return Operand(slot: slot) }
        if let index = graph.soleWriter(slot, "Transpose"), let transpose = graph.nodes[index],
            transpose.attributes.ints("perm") == [0, 2, 1, 3], let source = transpose.inputs.first ?? nil
        {
            return Operand(slot: source, isRowsFirst: true)
        }
        guard let (stack, part) = partOfStack(slot, graph),
            let transpose = graph.maker(stack, "Transpose")?.node,
            transpose.attributes.ints("perm") == [2, 0, 3, 1, 4], let source = transpose.inputs.first ?? nil,
            let shape = graph.types[source]?.shape, shape.rank == 5,
            let count = shape.dimensions[2].count, part < count
        else { return Operand(slot: slot) }
        return Operand(slot: source, isRowsFirst: true, part: part)
    }

    /// The stack along the first axis that a tensor is taken from, by a Gather or by a Split and a Squeeze, and at which
    /// place it lies there.
    private static func partOfStack(_ slot: Int, _ graph: PlanGraph) -> (stack: Int, part: Int)? {
        if let gather = graph.maker(slot, "Gather")?.node, gather.inputs.count == 2,
            gather.attributes.int("axis") ?? 0 == 0,
            let stack = gather.inputs[0], graph.constantShape(gather.inputs[1]) == [],
            let part = graph.integers(gather.inputs[1])?.first, part >= 0
        {
            return (stack, part)
        }
        guard let squeeze = graph.maker(slot, "Squeeze")?.node,
            (squeeze.opset < 13
                ? squeeze.attributes.ints("axes") : graph.integers(squeeze.inputs.dropFirst().first ?? nil))
                == [0], let piece = squeeze.inputs.first ?? nil, let split = graph.maker(piece, "Split")?.node,
            split.attributes.int("axis") ?? 0 == 0, let stack = split.inputs.first ?? nil,
            split.outputs.allSatisfy({ $0.map { graph.types[$0]?.shape?.dimensions.first?.count == 1 } ?? false }),
            let part = split.outputs.firstIndex(of: piece)
        else { return nil }
        return (stack, part)
    }
}
