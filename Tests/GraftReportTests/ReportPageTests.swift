import GraftReport
import GraftTraining
import OrderedCollections
import Testing

@Suite struct ReportPageTests {
    /// A run of two stages over 300 steps with a validation every 50.
    static func example(classes: Int = 4) -> RunReport {
        var report = RunReport(
            model: "flowers <&> \"petals\".onnx", recipe: "batch: 32\nstages: []\n",
            labels: (0..<classes).map { "class \($0)" })
        report.trainingSamples = 1_600
        report.validationSamples = 400
        report.stages = [
            .init(
                name: "head", trainable: 2_052, firstStep: 1, lastStep: 150, keptStep: 150, endedEarly: false,
                featuresFrom: "layer4"),
            .init(
                name: "all", trainable: 11_178_564, firstStep: 151, lastStep: 300, keptStep: 250, endedEarly: true,
                featuresFrom: nil),
        ]
        for step in 1...300 {
            let noise = Double((step * 7919) % 97) / 97 - 0.5
            let rate = step <= 150 ? 1e-3 : 1e-4
            report.steps.append(
                StepRecord(
                    stage: step <= 150 ? "head" : "all", epoch: (step - 1) % 150 / 50 + 1, step: step,
                    loss: 1.5 / (1 + Double(step) / 60) + 0.3 * noise + 0.2,
                    rates: step <= 150 ? ["head": rate] : ["head": rate, "layer4": rate / 2, "layer3": rate / 4]))
            if step % 50 == 0 {
                let accuracy = 1 - 0.4 / Double(step / 50 + 1)
                report.validations.append(
                    ValidationRecord(
                        stage: step <= 150 ? "head" : "all", epoch: 1, step: step,
                        figures: [
                            "loss": 1.2 / (1 + Double(step) / 60) + 0.25, "accuracy": accuracy,
                            "macro_f1": accuracy - 0.02,
                        ], isBest: step != 300))
            }
        }
        var before = Evaluation(classes: classes)
        var after = Evaluation(classes: classes)
        for sample in 0..<400 {
            var row = [Float](repeating: 0, count: classes)
            row[sample % 13 == 0 ? (sample / 13 + 1) % classes : sample % classes] = 3
            after.add(outputs: row, areProbabilities: false, labels: [sample % classes], samples: [sample])
            row = [Float](repeating: 0, count: classes)
            row[sample % 3 % classes] = 1
            before.add(outputs: row, areProbabilities: false, labels: [sample % classes], samples: [sample])
        }
        report.before = before
        report.after = after
        report.retention = (before, after)
        report.layers = (0..<9).map {
            .init(
                path: "layer\($0).conv", kind: "convolution", parameters: 9_408 << $0,
                trained: $0 < 3 ? 0 : 9_408 << $0,
                multiplier: $0 < 3 ? nil : 0.5)
        }
        report.seconds = 83.4
        report.samplesPerSecond = 412.7
        report.remarks = ["conv1 stays frozen because the file says so; name it in thaw to train it"]
        return report
    }

    @Test func everythingIsOnThePage() {
        let html = ReportPage(Self.example()) { sample in
            sample % 2 == 0 ? .init(bytes: Array("GIF".utf8), mediaType: "image/gif", name: "a&b.gif") : nil
        }.html()
        #expect(html.components(separatedBy: "<svg").count == 4)
        #expect(html.contains("flowers &lt;&amp;&gt; &quot;petals&quot;.onnx"))
        #expect(html.contains("11\u{202F}178\u{202F}564"))
        #expect(html.contains("no more improvement"))
        #expect(html.contains("data:image/gif;base64,R0lG"))
        #expect(html.contains("a&amp;b.gif"))
        #expect(html.contains("class 3"))
        #expect(html.contains("conv1 stays frozen"))
        #expect(html.contains("batch: 32"))
    }

    @Test func thePageNeedsNothingBesideIt() {
        let html = ReportPage(Self.example()).html()
        for reference in ["http:", "https:", "<script", "<link", "url(", "@import"] {
            #expect(!html.contains(reference), "\(reference)")
        }
    }

    @Test func everyTagIsClosed() throws {
        let html = ReportPage(Self.example(classes: 60)) { _ in nil }.html()
        var open: [Substring] = []
        let alone: Set<Substring> = ["!doctype", "meta", "br", "img"]
        var rest = html[...]
        while let start = rest.firstIndex(of: "<") {
            let end = try #require(rest[start...].firstIndex(of: ">"))
            let tag = rest[rest.index(after: start)..<end]
            rest = rest[rest.index(after: end)...]
            let name = tag.prefix { $0 != " " && $0 != "/" || $0 == "/" && tag.first == "/" }
            if name.first == "/" {
                #expect(open.popLast() == name.dropFirst())
            } else if !alone.contains(name) && tag.last != "/" {
                open.append(name)
            }
        }
        #expect(open.isEmpty)
    }

    @Test func aRunWithoutStepsHasAPage() {
        let html = ReportPage(RunReport(model: "m", recipe: "", labels: [])).html()
        #expect(html.contains("<h1>m</h1>") && !html.contains("<svg"))
    }

    @Test func figuresThatAreNoNumbersAreLeftOut() {
        var report = Self.example()
        report.steps[3].loss = .nan
        report.steps[4].loss = .infinity
        let html = ReportPage(report).html()
        #expect(!html.contains("nan,") && !html.contains(",nan") && !html.contains("inf"))
    }

    @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")])
    func base64IsThatOfTheStandard(text: String, expected: String) {
        #expect(ReportPage.base64(Array(text.utf8)) == expected)
    }
}

extension String {
    func components(separatedBy separator: String) -> [Substring] {
        split(separator: separator, omittingEmptySubsequences: false)
    }
}
