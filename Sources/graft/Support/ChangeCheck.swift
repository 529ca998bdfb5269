import ArgumentParser
import GraftCore
import GraftFormats
import GraftIR

/// Options of passes that are proven by running.
struct SurgeryOutputOptions: ParsableArguments {
    @OptionGroup var options: OutputOptions

    @Flag(name: .long, help: "Only show what would change, also where -o is given.")
    var dryRun = false

    func validate() throws {
        if dryRun, options.output != nil { throw ValidationError("--dry-run writes nothing; leave -o out.") }
    }
}

/// How much a pass changed what a model answers; a change beyond its bound ends the command.
struct ChangeCheck {
    private let parity: OutputParity?
    private let remark: String
    private let words: String

    /// Runs a model before and after a pass on the same probe inputs.
    init(_ source: Model, _ patch: Patch, options: SurgeryOutputOptions, bound: Double) throws {
        var edited = source
        try edited.apply(patch)
        let changed = edited
        try self.init(verifies: options.options.verify, bound: bound) { try OutputParity(source, changed) }
    }

    /// Compares what should be the same.
    ///
    /// - Parameter isRequired: whether a model that cannot run here is refused.
    init(
        verifies: Bool, bound: Double, words: String = "outputs differ", isRequired: Bool = false,
        _ compare: () throws -> OutputParity
    ) throws {
        self.words = words
        guard verifies else {
            (parity, remark) = (nil, "not compared, as asked")
            return
        }
        do {
            let found = try compare()
            guard found.largestRelativeDifference <= bound else {
                throw ChangeError.tooLarge(words: words, difference: found.largestRelativeDifference, bound: bound)
            }
            (parity, remark) = (found, "")
        } catch let error as ChangeError {
            throw error
        } catch let error as any GraftError {
            if isRequired { throw ChangeError.notProven(reason: error.description) }
            // A model that cannot run here is not compared, and that is said.
            (parity, remark) = (nil, "outputs not compared: \(error.description)")
        }
    }

    var text: String {
        guard let parity else { return remark }
        return "\(words) by at most \(Format.scientific(parity.largestRelativeDifference)) of their scale"
    }

    var json: JSON {
        [
            "difference": parity.map { JSON($0.largestRelativeDifference) } ?? .null,
            "remark": remark.isEmpty ? .null : JSON(remark),
        ]
    }
}

/// A pass changed the answers of a model.
enum ChangeError: GraftError {
    case tooLarge(words: String, difference: Double, bound: Double)
    case notProven(reason: String)

    var exitStatus: ExitStatus { .gateFailed }
    var description: String {
        switch self {
        case .tooLarge(let words, let difference, let bound):
            "\(words) by \(difference) of their scale, more than \(bound); nothing was written (--no-verify skips this)"
        case .notProven(let reason): "cannot be proven by running: \(reason); --no-verify writes it without proof"
        }
    }
}
