import GraftCore
import GraftData
import GraftIR
import GraftONNX
import GraftRuntime

/// One case of ONNX's backend suite: a folder with a model and sets of data.
struct ConformanceCase {
    let name: String
    let folder: String
    let sets: Int
    let relativeTolerance: Double
    let absoluteTolerance: Double

    init?(_ json: JSON, root: String) {
        guard let name = json["name"]?.string, let sets = json["sets"]?.int, let relative = json["rtol"]?.double,
            let absolute = json["atol"]?.double
        else { return nil }
        self.name = name
        self.sets = sets
        folder = "\(root)/\(name)"
        relativeTolerance = relative
        absoluteTolerance = absolute
    }

    enum Verdict: String {
        case pass
        case wrong
        case refused
    }

    /// Plans and runs the model as `graft run` does, and compares what it gives.
    func verdict() -> (Verdict, reason: String) {
        let session: Session
        do {
            var options = PlanOptions()
            options.pictureDecoder = { bytes in
                let image = try Image(decoding: bytes, source: "the encoded picture")
                return DecodedPicture(
                    width: image.width, height: image.height, channels: image.channels, pixels: image.pixels)
            }
            session = try Session(Plan(ONNX.read(path: "\(folder)/model.onnx"), options: options))
        } catch {
            return (.refused, "\(error)")
        }
        for number in 0..<sets {
            do {
                if let difference = try difference(of: session, set: number) { return (.wrong, difference) }
            } catch {
                return (.refused, "\(error)")
            }
        }
        return (.pass, "")
    }

    private func difference(of session: Session, set number: Int) throws -> String? {
        let data = try ConformanceData(path: "\(folder)/data_\(number).onnx")
        let results = try session.run(data.inputs)
        let comparison = ValueComparison(
            relativeTolerance: relativeTolerance, absoluteTolerance: absoluteTolerance,
            onlyForm: ValueComparison.isRandom(caseName: name))
        for (name, wanted) in data.outputs {
            guard let found = results[name] else { return "no output \(name)" }
            if let reason = try comparison.difference(found, wanted) { return "\(name): \(reason)" }
        }
        return nil
    }
}
