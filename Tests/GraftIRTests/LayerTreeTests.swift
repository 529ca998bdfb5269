import GraftCore
import GraftIR
import GraftTestSupport
import Testing

@Suite struct LayerTreeTests {
    @Test(arguments: [true, false])
    func parameterNamesGiveTheTreeWithAndWithoutScopes(scoped: Bool) throws {
        let model = SmallNetworks.residual(scoped: scoped)
        let tree = try LayerTree(model)
        let conv = try #require(tree.layer(at: "layer1.0.conv1"))
        #expect(conv.kind == .convolution)
        #expect(conv.parameters.map { model.graph[$0].name } == ["layer1.0.conv1.weight"])
        let norm = try #require(tree.layer(at: "layer2.1.bn2"))
        #expect(norm.kind == .normalization)
        #expect(norm.parameters.map { model.graph[$0].name } == ["layer2.1.bn2.weight", "layer2.1.bn2.bias"])
        #expect(
            norm.statistics.map { model.graph[$0].name } == ["layer2.1.bn2.running_mean", "layer2.1.bn2.running_var"])
        #expect(tree.layer(at: "layer1")?.kind == .group)
        #expect(tree.layer(at: "fc")?.kind == .linear)
    }

    @Test func everyNodeBelongsToOneLeafAndLeavesAreInOrder() throws {
        for model in [
            SmallNetworks.residual(), SmallNetworks.residual(scoped: false), SmallNetworks.keras(),
            SmallNetworks.constants(), SmallNetworks.reshapedMatrix(), SmallNetworks.twoHeads(),
        ] {
            let tree = try LayerTree(model)
            let nodes = tree.leaves.flatMap(\.nodes)
            #expect(Set(nodes) == Set(model.graph.order) && nodes.count == model.graph.nodeCount)
            #expect(Set(tree.layers.map(\.path)).count == tree.layers.count)
            for layer in tree.layers where !layer.isLeaf {
                #expect(layer.nodes.isEmpty)
                #expect(layer.children.allSatisfy { tree.layers[$0].path.hasPrefix(layer.path) })
            }
            for node in model.graph.order { #expect(tree.layer(of: node)?.nodes.contains(node) == true) }
        }
    }

    @Test func stagesAreBlocksAndTheHeadIsNone() throws {
        let tree = try LayerTree(SmallNetworks.residual())
        #expect(tree.blocks.map(\.name) == ["conv1", "layer1", "layer2"])
        #expect(tree.headParameters.map { tree.model.graph[$0].name } == ["fc.weight", "fc.bias"])
        let inBlocks = tree.blocks.flatMap(\.parameters) + tree.headParameters
        #expect(Set(inBlocks) == Set(tree.parameters) && inBlocks.count == tree.parameters.count)
    }

    @Test func flatKerasNamesFormSeparableBlocks() throws {
        let tree = try LayerTree(SmallNetworks.keras())
        #expect(tree.blocks.map(\.name) == ["conv1", "conv_1", "conv_2", "conv_3"])
        #expect(tree.layer(at: "conv_dw_2")?.kind == .convolution)
        #expect(tree.head?.featureCount == 6)
    }

    @Test func namelessGraphsAreDividedWhereOneValueCarriesEverything() throws {
        var model = SmallNetworks.residual(scoped: false)
        // Names that say nothing, as after a folding exporter.
        for (number, id) in model.graph.initializers.enumerated() {
            model.graph.rename(id, to: "onnx::Thing_\(number)")
        }
        let tree = try LayerTree(model)
        // The stem, and one block for each residual sum.
        #expect(tree.blocks.count == 5)
        #expect(tree.blocks.dropFirst().allSatisfy { $0.parameters.count == 6 && $0.statistics.count == 4 })
    }

    @Test func weightsInConstantNodesAndBehindReshapesAreParameters() throws {
        let paddle = try LayerTree(SmallNetworks.constants())
        #expect(paddle.parameters.map { paddle.model.graph[$0].name } == ["conv1_weights", "fc_0.w_0", "fc_0.b_0"])
        #expect(paddle.layer(at: "fc_0")?.parameters.count == 2)
        let cntk = try LayerTree(SmallNetworks.reshapedMatrix())
        #expect(cntk.parameters.map { cntk.model.graph[$0].name } == ["Parameter193", "Parameter194"])
        #expect(cntk.parameters.compactMap { cntk.table[$0] } == [.weight, .bias])
    }

    @Test func torchScopesPlaceNodesThatParametersDoNot() throws {
        var model = SmallNetworks.residual(scoped: false)
        let add = try #require(model.graph.order.first { model.graph[$0].op.isONNX("Add") })
        model.graph[add].name = "node_add_3"
        model.graph[add].metadata["pkg.torch.onnx.name_scopes"] = "['', 'layer1', 'layer1.0', 'add_3']"
        let tree = try LayerTree(model)
        #expect(tree.layer(of: add)?.path == "layer1.0.node_add_3")
    }

    @Test func arithmeticConstantsAreNoParameters() throws {
        var model = SmallNetworks.residual()
        var graph = model.graph
        let input = graph.inputs[0]
        let first = try #require(graph.order.first)
        let mean = graph.addInitializer("mean", SmallNetworks.ramp([3, 1, 1]))
        let scaled = graph.add("Sub", [input, mean], name: "normalize", at: 0)
        graph.setInput(0, of: first, to: scaled)
        model.graph = graph
        let tree = try LayerTree(model)
        #expect(tree.table[mean] == nil)
        #expect(tree.parameters.count == (try LayerTree(SmallNetworks.residual()).parameters.count))
    }

    @Test func aNameWithThousandsOfScopesIsNoDeepTree() throws {
        var model = SmallNetworks.residual()
        let node = try #require(model.graph.order.first { model.graph[$0].op.isONNX("Relu") })
        model.graph[node].name = String(repeating: "a/", count: 100_000) + "Relu"
        let tree = try LayerTree(model)
        #expect(tree.layer(of: node) != nil)
    }
}
