import GraftCore
import Testing

@Suite struct JSONTests {
    @Test(arguments: [
        "null", "true", "[]", "{}", "[1,2.5,-3]", #"{"b":1,"a":[{"c":null}]}"#, #""\u0000\"\\é😀""#,
        "9007199254740993", "[NaN,Infinity,-Infinity]", "1e-07",
    ])
    func textSurvivesParsingAndWriting(_ text: String) throws {
        #expect(try JSON(parsing: text).text() == text)
    }

    @Test func surrogatePairsAndEscapesAreRead() throws {
        #expect(try JSON(parsing: #""\ud83d\ude00\n\/""#) == "😀\n/")
        #expect(JSON.string("é😀").text(ascii: true) == #""\u00e9\ud83d\ude00""#)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\"}", "01x", "nul", "\"", "\"\\u12\"", "[1 2]", "1.", "-", "{\"a\":1,}", "1 2",
        "\"\u{1}\"",
    ])
    func damagedTextIsRefused(_ text: String) {
        #expect(throws: JSONError.self) { try JSON(parsing: text) }
    }

    @Test func everyTruncationIsRefusedOrValid() {
        let text = #"{"name":"layer","shape":[1,2,3],"deep":{"x":[true,false,null,1.5e3]},"text":"a\u00e9b"}"#
        for length in 0..<text.utf8.count {
            #expect(throws: JSONError.self) { try JSON(parsing: text.utf8.prefix(length)) }
        }
    }

    @Test func deepNestingIsRefusedWithoutOverflow() {
        #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 1_000_000)) }
    }
}
