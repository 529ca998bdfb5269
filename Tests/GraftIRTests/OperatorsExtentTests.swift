import GraftIR
import Testing

@Suite struct OperatorsExtentTests {
    @Test(arguments: [
        ("N", "1", "N+1"), ("H", "H", "2*H"), ("2*H", "-2*H", "0"), ("b+a", "c", "a+b+c"), ("H-1", "1", "H"),
        ("batch-size", "1", "batch-size+1"), ("not an (expression", "not an (expression", "2*not an (expression"),
    ])
    func sumsHaveOneForm(a: String, b: String, expected: String) {
        let sum = Extent.symbol(a) + Extent.symbol(b)
        #expect(sum.text == expected)
    }

    @Test func whatDividesIsTakenOutOfADivision() {
        let half = (Extent.symbol("W") + .fixed(1)).floorDivided(by: .fixed(2))
        #expect(half.text == "(W+1)//2")
        #expect((Extent.symbol("W") * .fixed(4)).floorDivided(by: .fixed(2)).text == "2*W")
        #expect((Extent.symbol("W") * .fixed(4) + .fixed(3)).floorDivided(by: .fixed(2)).text == "2*W+1")
        #expect((half * .fixed(2)).text == "2*((W+1)//2)")
    }

    @Test func chainsOfStridesBecomeOneDivision() {
        var extent = Extent.symbol("W")
        for _ in 0..<3 { extent = (extent + .fixed(1)).floorDivided(by: .fixed(2)) }
        #expect(extent.text == "(W+7)//8")
        #expect(extent.substituting(["W": .fixed(224)]) == .fixed(28))
        #expect(extent.substituting(["W": .fixed(225)]) == .fixed(29))
    }

    @Test func productsDivideExactlyOrNotAtAll() {
        let total = Extent.symbol("N") * .fixed(64) * .symbol("H")
        #expect(total.dividedExactly(by: .symbol("N")).text == "64*H")
        #expect(total.dividedExactly(by: .symbol("C")) == .unknown)
    }

    @Test func numbersBeyondTheRangeAreUnknown() {
        #expect(Extent.fixed(Int.max) + .fixed(1) == .unknown)
        #expect(Extent.fixed(Int.max) * .symbol("N") * .fixed(2) == .unknown)
        #expect(Extent.symbol("9999999999999999999999").text == "9999999999999999999999")
        var extent = Extent.symbol("x")
        for index in 0..<200 { extent = extent * (.symbol("name\(index)") + .fixed(1)) }
        #expect(extent == .unknown, "an expression does not grow without bound")
    }

    @Test func deepNestingIsANameNotACrash() {
        let text = String(repeating: "(", count: 100_000) + "N"
        #expect((Extent.symbol(text) + .fixed(0)) != .fixed(0))
        let short = String(repeating: "(", count: 100) + "N"
        #expect((Extent.symbol(short) * .fixed(1)).text == short)
    }

    @Test func broadcastingKeepsWhatIsKnown() {
        let a: SymbolicShape = ["N", 1, 8]
        let b: SymbolicShape = [3, 8]
        #expect(a.broadcast(with: b)?.description == "[N, 3, 8]")
        #expect(a.broadcast(with: [7]) == nil)
        let different = SymbolicShape(extents: [.symbol("A")]).broadcast(with: SymbolicShape(extents: [.symbol("B")]))
        #expect(different?.extents == [.unknown], "either may be 1")
    }
}
