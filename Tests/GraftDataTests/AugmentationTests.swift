import GraftCore
import GraftData
import OrderedCollections
import Testing

@Suite struct AugmentationTests {
    private let picture: Image = {
        var random = CounterRandom(seed: 3)
        return Image(
            width: 40, height: 30, channels: 3, pixels: (0..<3600).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        )
    }()

    private func parameters(_ name: String, _ json: JSON = [:]) -> AugmentationParameters {
        AugmentationParameters(augmentation: name, members: json.object ?? [:])
    }

    @Test(arguments: AugmentationPipeline.kinds.map { $0.name })
    func everyKindIsAFunctionOfItsRandomNumbers(name: String) throws {
        let kind = try #require(AugmentationPipeline.kinds.first { $0.name == name })
        let augmentation = try kind.init(parameters(name))
        let contract = try Preprocessing(height: 24, width: 20)
        var results: Set<[UInt8]> = []
        for seed in 0..<20 as Range<UInt64> {
            var first = CounterRandom(seed: seed)
            var second = CounterRandom(seed: seed)
            let image = augmentation.apply(picture, for: contract, random: &first)
            #expect(image == augmentation.apply(picture, for: contract, random: &second))
            let size = kind.setsSize ? [20, 24] : [40, 30]
            #expect([image.width, image.height] == size)
            results.insert(image.pixels)
        }
        #expect(results.count > 1, "it never changes anything")
        #expect(!kind.summary.isEmpty)
    }

    @Test func aRandomCropKeepsItsBounds() throws {
        let crop = try RandomResizedCrop(parameters("crop"))
        var areas: [Double] = []
        for seed in 0..<2000 as Range<UInt64> {
            var random = CounterRandom(seed: seed)
            let part = crop.part(width: 300, height: 200, random: &random)
            #expect(part.x >= 0 && part.y >= 0 && part.x + part.width <= 300 && part.y + part.height <= 200)
            let ratio = Double(part.width) / Double(part.height)
            #expect(ratio > 0.73 && ratio < 1.37)
            areas.append(Double(part.width * part.height) / 60_000)
        }
        #expect((areas.min() ?? 0) > 0.078 && (areas.max() ?? 1) < 0.9)
        let mean = areas.reduce(0, +) / Double(areas.count)
        // Uniform from 0.08 to 1, without the large parts that do not fit.
        #expect(mean > 0.38 && mean < 0.54)
    }

    @Test func aCropThatNeverFitsIsCentred() throws {
        let crop = try RandomResizedCrop(parameters("crop", ["scale": [1, 1], "ratio": [1, 1]]))
        var random = CounterRandom(seed: 1)
        let part = crop.part(width: 100, height: 10, random: &random)
        #expect(part == (45, 0, 10, 10))
    }

    @Test func flippingTwiceChangesNothing() {
        #expect(picture.flippedHorizontally() != picture)
        #expect(picture.flippedHorizontally().flippedHorizontally() == picture)
    }

    @Test func erasingBlanksOneRectangle() throws {
        let contract = try Preprocessing(
            height: 30, width: 40, scale: 1 / 255, mean: [0.5, 0.25, 0.75], std: [1, 1, 1])
        let erase = try RandomErasing(parameters("erase", ["probability": 1]))
        var random = CounterRandom(seed: 5)
        let image = erase.apply(picture, for: contract, random: &random)
        let changed = (0..<1200).filter { image.pixels[$0 * 3..<$0 * 3 + 3] != picture.pixels[$0 * 3..<$0 * 3 + 3] }
        #expect(changed.count > 20 && changed.count < 400)
        #expect(changed.allSatisfy { Array(image.pixels[$0 * 3..<$0 * 3 + 3]) == [128, 64, 191] })
    }

    @Test func aRotationByNothingChangesNothing() throws {
        let still = try Rotation(parameters("rotate", ["degrees": 0]))
        var random = CounterRandom(seed: 1)
        let contract = try Preprocessing(height: 3, width: 3)
        #expect(still.apply(picture, for: contract, random: &random) == picture)
    }

    @Test func aRecipesStepsSurviveJSON() throws {
        let json: JSON = ["flip", ["name": "erase", "probability": 0.25], "crop", "colour", "rotate"]
        let pipeline = try AugmentationPipeline(json: json)
        #expect(pipeline.steps.map { type(of: $0).name } == ["crop", "flip", "erase", "colour", "rotate"])
        let again = try AugmentationPipeline(json: pipeline.json)
        #expect(again.json == pipeline.json)
        #expect(try AugmentationPipeline(json: .null).steps.isEmpty)
    }

    @Test func whatIsWrongInARecipeIsNamed() throws {
        let cases: [(JSON, String)] = [
            (["flop"], "\"flip\""), ([["name": "flip", "p": 1]], "probability"), (["crop", 3], "3"),
            ([["name": "flip", "probability": 2]], "probability"), ([["name": "crop", "scale": [1, 0.5]]], "scale"),
            (["crop", "crop"], "both"),
        ]
        for (json, word) in cases {
            let error = #expect(throws: AugmentationError.self, "\(json)") { try AugmentationPipeline(json: json) }
            #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
        }
    }
}
