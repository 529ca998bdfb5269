import GraftCore
import GraftTestSupport
import GraftTraining
import Testing

/// Against scikit-learn; `fixtures/metrics/make.py` made the figures.
@Suite struct MetricsTests {
    private func golden() throws -> (JSON, Evaluation) {
        let file = try MappedFile(path: Fixtures.path("metrics/metrics.json"))
        let json = try withExtendedLifetime(file) { try JSON(parsing: file.bytes) }
        let logits = try #require(json["logits"]?.array).map { Float($0.double ?? .nan) }
        let labels = try #require(json["labels"]?.array).map { $0.int ?? -1 }
        var evaluation = Evaluation(classes: 7)
        // In two unequal parts, as batches come.
        evaluation.add(
            outputs: Array(logits[..<(7 * 23)]), areProbabilities: false, labels: Array(labels[..<23]),
            samples: Array(0..<23))
        evaluation.add(
            outputs: Array(logits[(7 * 23)...]), areProbabilities: false, labels: Array(labels[23...]),
            samples: Array(23..<60))
        return (json, evaluation)
    }

    @Test func figuresAreThoseOfScikitLearn() throws {
        let (json, evaluation) = try golden()
        func expect(_ name: String, _ value: Double) {
            #expect(abs(value - (json[name]?.double ?? .nan)) < 1e-9, "\(name): \(value)")
        }
        expect("accuracy", evaluation.accuracy)
        expect("macro_f1", evaluation.macroF1)
        expect("log_loss", evaluation.loss)
        expect("top5", evaluation.topFive)
        expect("calibration_error", evaluation.calibrationError)
        for index in 0..<7 {
            let figures = evaluation.confusion.figures(index)
            #expect(abs(figures.precision - (json["precision"]?[index]?.double ?? .nan)) < 1e-12)
            #expect(abs(figures.recall - (json["recall"]?[index]?.double ?? .nan)) < 1e-12)
            #expect(abs(figures.f1 - (json["f1"]?[index]?.double ?? .nan)) < 1e-12)
            #expect(figures.support == json["support"]?[index]?.int)
            for other in 0..<7 {
                #expect(evaluation.confusion[index, other] == json["confusion"]?[index]?[other]?.int)
            }
        }
    }

    @Test func probabilitiesGiveTheSameAsLogits() throws {
        var a = Evaluation(classes: 3)
        var b = Evaluation(classes: 3)
        a.add(outputs: [0.2, 0.5, 0.3], areProbabilities: true, labels: [2], samples: [4])
        b.add(outputs: [-1.6094379, -0.6931472, -1.2039728], areProbabilities: false, labels: [2], samples: [4])
        #expect(abs(a.loss - b.loss) < 1e-6)
        #expect(a.mistakes.map(\.prediction) == [1] && b.mistakes.map(\.sample) == [4])
    }

    @Test func worstMistakesAreKeptInOrder() {
        var evaluation = Evaluation(classes: 2, mistakesKept: 2)
        for (sample, wrong) in [1.0, 3.0, 2.0, 0.5].enumerated() {
            evaluation.add(outputs: [Float(wrong), 0], areProbabilities: false, labels: [1], samples: [sample])
        }
        #expect(evaluation.mistakes.map(\.sample) == [1, 2])
    }

    @Test func noSamplesGiveZeros() {
        let evaluation = Evaluation(classes: 3)
        #expect(evaluation.accuracy == 0 && evaluation.loss == 0 && evaluation.calibrationError == 0)
    }
}
