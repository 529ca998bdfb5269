import GraftCore
import GraftIR
import GraftTestSupport
import OrderedCollections
import Testing

@Suite struct SelectorTests {
    private let tree: LayerTree
    private let all: [String]

    init() throws {
        tree = try LayerTree(SmallNetworks.residual())
        all = tree.parameters.map { [tree] in tree.model.graph[$0].name }
    }

    private func names(_ selector: String) throws -> [String] { try tree.select(selector).parameterNames(in: tree) }

    @Test func namesSelectLayersGroupsAndParameters() throws {
        #expect(try names("layer1") == all.filter { $0.hasPrefix("layer1.") })
        #expect(try names("layer1.*") == all.filter { $0.hasPrefix("layer1.") })
        #expect(try names("layer?.0.conv[12]") == all.filter { $0.contains(".0.conv") })
        #expect(try names("*.bias") == all.filter { $0.hasSuffix(".bias") })
        #expect(try names("fc.weight") == ["fc.weight"])
        #expect(try names("layer1/0/conv1") == ["layer1.0.conv1.weight"])
        #expect(try names("*") == all)
    }

    @Test func propertiesSelect() throws {
        #expect(try names("@head") == ["fc.weight", "fc.bias"])
        #expect(try names("@backbone") == all.filter { !$0.hasPrefix("fc.") })
        #expect(try names("@last:1") == all.filter { $0.hasPrefix("layer2.") })
        #expect(try names("@last:2") == all.filter { $0.hasPrefix("layer") })
        #expect(try names("@first:1") == all.filter { $0.hasPrefix("conv1") || $0.hasPrefix("bn1") })
        #expect(try names("@norm") == all.filter { $0.contains("bn") })
        #expect(try names("@bias") == all.filter { $0.hasSuffix("bias") })
        #expect(try names("@weight") == all.filter { $0.hasSuffix("weight") && !$0.contains("bn") })
        #expect(try names("op:Conv") == all.filter { $0.contains("conv") })
        #expect(try names("@block:layer2") == names("@last:1"))
        #expect(try tree.select("@norm").statistics.count == 2 * 9)
    }

    @Test func rangesFollowTheData() throws {
        #expect(try names("from:layer2 & through:layer2") == all.filter { $0.hasPrefix("layer2.") })
        #expect(try names("from:layer2.1.conv1") == all.filter { $0.hasPrefix("layer2.1") || $0.hasPrefix("fc") })
        #expect(try names("through:bn1") == ["conv1.weight", "bn1.weight", "bn1.bias"])
    }

    @Test func combinationsFollowTheirPrecedence() throws {
        #expect(
            try names("layer1.*,@norm,!@bias")
                == all.filter {
                    ($0.hasPrefix("layer1.") || $0.contains("bn")) && !$0.hasSuffix("bias")
                })
        #expect(try names("!@head") == names("@backbone"))
        #expect(
            try names("layer1, layer2 & @norm")
                == all.filter {
                    $0.hasPrefix("layer1.") || ($0.hasPrefix("layer2.") && $0.contains("bn"))
                })
        #expect(try names("(layer1, layer2) & @norm") == all.filter { $0.hasPrefix("layer") && $0.contains("bn") })
        #expect(try names("layer1 - @norm") == all.filter { $0.hasPrefix("layer1.") && !$0.contains("bn") })
        #expect(try names("layer1 & !@norm") == names("layer1 - @norm"))
        #expect(
            try names("@head,layer1,!*.weight")
                == all.filter {
                    ($0.hasPrefix("layer1.") || $0.hasPrefix("fc")) && !$0.hasSuffix("weight")
                })
    }

    @Test func algebraHoldsOnTheModel() throws {
        let parts = ["layer1", "@norm", "@bias", "op:Conv", "@last:1", "@head", "*.0.*"]
        let everything = tree.everything
        for a in parts {
            for b in parts {
                let (x, y) = (try tree.select(a), try tree.select(b))
                #expect(try tree.select("\(a),\(b)") == x.union(y))
                if !x.intersection(y).isEmpty { #expect(try tree.select("\(a) & \(b)") == x.intersection(y)) }
                if !x.subtracting(y).isEmpty { #expect(try tree.select("\(a), !\(b)") == x.subtracting(y)) }
                #expect(everything.subtracting(everything.subtracting(x)) == x)
            }
        }
    }

    @Test(arguments: [
        "layer4.*,@norm,!@bias", "(a, b) & !c", "@last:3", "from:x & through:y", "\"a,b\" - @head", "op:Conv, @group:g",
        "!(a, !b)",
    ])
    func writtenSelectorsReadBackTheSame(text: String) throws {
        let selector = try Selector.parse(text)
        #expect(try Selector.parse(selector.description) == selector)
    }

    @Test(arguments: [
        "", "a,", "(a", "a)", "@nothing", "@last", "@last:x", "@last:0", "@head:2", "op:", "\"a", "a & ", "a b", "!",
    ])
    func badSyntaxIsRefused(text: String) {
        #expect(throws: SelectorError.self) { try Selector.parse(text) }
    }

    @Test func anUnknownWordSuggestsTheNearest() throws {
        let error = #expect(throws: SelectorError.self) { try Selector.parse("@haed") }
        #expect(error?.description.contains("Did you mean \"@head\"?") == true)
    }

    @Test(arguments: [("layer3", "layer"), ("fc.wieght", "fc.weight"), ("op:Convv", "Conv")])
    func noMatchShowsNearMisses(text: String, near: String) throws {
        let error = #expect(throws: SelectorError.self) { try tree.select(text) }
        #expect(error?.description.contains("matches nothing") == true)
        #expect(error?.description.contains("Did you mean") == true && error?.description.contains(near) == true)
    }

    @Test func partsThatMatchButLeaveNothingAreAnError() {
        #expect(throws: SelectorError.empty(text: "layer1 & layer2")) { try tree.select("layer1 & layer2") }
        #expect(throws: SelectorError.self) { try tree.select("@last:9") }
        #expect(throws: SelectorError.self) { try tree.select("@frozen") }
    }

    @Test func annotationsCanBeSelected() throws {
        var model = SmallNetworks.residual()
        try model.updateAnnotations {
            $0.frozen = ["fc.bias"]
            $0.assign("conv1.weight", to: RateGroup("slow", multiplier: 0.1))
        }
        let tree = try LayerTree(model)
        #expect(try tree.select("@frozen").parameterNames(in: tree) == ["fc.bias"])
        #expect(try tree.select("@trainable").parameters.count == tree.parameters.count - 1)
        #expect(try tree.select("@group:slow").parameterNames(in: tree) == ["conv1.weight"])
        #expect(throws: SelectorError.self) { try tree.select("@group:slwo") }
    }

    @Test func aPatternOfManyStarsIsFast() {
        let pattern = String(repeating: "*a", count: 200) + "b"
        #expect(throws: SelectorError.self) { try tree.select(pattern) }
    }
}
