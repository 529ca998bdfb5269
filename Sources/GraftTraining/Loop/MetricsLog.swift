import GraftCore
import OrderedCollections

#if canImport(Glibc)
import Glibc
#endif

/// What happened at one optimizer step.
public struct StepRecord: Sendable, Equatable {
    /// The name of the stage.
    public var stage: String
    /// The pass over the data, counted from 1 within the stage.
    public var epoch: Int
    /// The step, counted from 1 over the whole run.
    public var step: Int
    /// The loss of the step's samples before the step.
    public var loss: Double
    /// The learning rate of each parameter group.
    public var rates: OrderedDictionary<String, Double>

    /// What happened at one step.
    public init(stage: String, epoch: Int, step: Int, loss: Double, rates: OrderedDictionary<String, Double>) {
        self.stage = stage
        self.epoch = epoch
        self.step = step
        self.loss = loss
        self.rates = rates
    }

    var json: JSON {
        [
            "stage": JSON(stage), "epoch": JSON(epoch), "step": JSON(step), "loss": JSON(loss),
            "rates": .object(rates.mapValues { JSON($0) }),
        ]
    }
}

/// What one validation found.
public struct ValidationRecord: Sendable, Equatable {
    /// The name of the stage.
    public var stage: String
    /// The pass over the data that it follows, counted from 1 within the stage.
    public var epoch: Int
    /// The number of steps that were taken before it.
    public var step: Int
    /// The figures by name: `loss`, `accuracy`, `top5`, `macro_f1`, `calibration_error`.
    public var figures: OrderedDictionary<String, Double>
    /// Whether it is the best of its stage so far.
    public var isBest: Bool

    /// What one validation found.
    public init(
        stage: String, epoch: Int, step: Int, figures: OrderedDictionary<String, Double>, isBest: Bool
    ) {
        self.stage = stage
        self.epoch = epoch
        self.step = step
        self.figures = figures
        self.isBest = isBest
    }

    var json: JSON {
        [
            "stage": JSON(stage), "epoch": JSON(epoch), "step": JSON(step),
            "validation": .object(figures.mapValues { JSON($0) }), "best": JSON(isBest),
        ]
    }
}

/// The course of a run: `metrics.jsonl`, a line a step and a line a validation, and `metrics.csv` with the same in columns.
///
/// Nothing in them depends on time, so a resumed run writes the same bytes as one that was not disturbed.
public final class MetricsLog {
    /// How far both files are written; a checkpoint keeps it so that a resumed run can cut what came after.
    public struct Position: Sendable, Equatable {
        /// The length of `metrics.jsonl` in bytes.
        public var lines: Int
        /// The length of `metrics.csv` in bytes.
        public var table: Int
    }

    static let header = "kind,stage,epoch,step,\(figures.joined(separator: ",")),best,rate\n"
    /// The columns of figures; each task fills some of them.
    static let figures = [
        "loss", "accuracy", "top5", "macro_f1", "calibration_error", "mean_iou", "exact_match", "mean_ap",
    ]

    private var lines: AppendingFile
    private var table: AppendingFile

    /// Opens the log in a run folder, cut to a position; nil starts it anew.
    ///
    /// - Throws: ``FileError``.
    public init(folder: String, at position: Position?) throws(FileError) {
        lines = try AppendingFile(path: "\(folder)/metrics.jsonl", length: position?.lines ?? 0)
        table = try AppendingFile(path: "\(folder)/metrics.csv", length: position?.table ?? 0)
        if position == nil { try table.append(Self.header) }
    }

    /// Notes a step.
    public func write(_ record: StepRecord) throws(FileError) {
        try lines.append(record.json.text() + "\n")
        let rate = record.rates.values.max().map { "\($0)" } ?? ""
        try table.append(
            "step,\(Self.cell(record.stage)),\(record.epoch),\(record.step),\(record.loss)\(Self.empty),,\(rate)\n")
    }

    /// Notes a validation.
    public func write(_ record: ValidationRecord) throws(FileError) {
        try lines.append(record.json.text() + "\n")
        let figures = Self.figures.map { name in
            record.figures[name].map { "\($0)" } ?? ""
        }.joined(separator: ",")
        try table.append(
            "validation,\(Self.cell(record.stage)),\(record.epoch),\(record.step),\(figures),\(record.isBest ? 1 : 0),\n"
        )
        try flush()
    }

    /// Hands everything to the system, so that a killed process loses none of it.
    @discardableResult
    public func flush() throws(FileError) -> Position {
        Position(lines: try lines.flush(), table: try table.flush())
    }

    private static let empty = String(repeating: ",", count: figures.count - 1)

    private static func cell(_ text: String) -> String {
        text.contains(where: { ",\"\n\r".contains($0) }) ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
    }

    /// The course that a run folder tells.
    ///
    /// - Throws: ``FileError`` or ``JSONError``.
    public static func read(folder: String) throws -> (steps: [StepRecord], validations: [ValidationRecord]) {
        let file = try MappedFile(path: "\(folder)/metrics.jsonl")
        var steps: [StepRecord] = []
        var validations: [ValidationRecord] = []
        for line in file.bytes.split(separator: UInt8(ascii: "\n")) {
            let json = try JSON(parsing: line)
            let stage = json["stage"]?.string ?? ""
            let epoch = json["epoch"]?.int ?? 0
            let step = json["step"]?.int ?? 0
            if let figures = json["validation"]?.object {
                validations.append(
                    ValidationRecord(
                        stage: stage, epoch: epoch, step: step, figures: figures.compactMapValues(\.double),
                        isBest: json["best"]?.bool ?? false))
            } else {
                steps.append(
                    StepRecord(
                        stage: stage, epoch: epoch, step: step, loss: json["loss"]?.double ?? .nan,
                        rates: (json["rates"]?.object ?? [:]).compactMapValues(\.double)))
            }
        }
        return (steps, validations)
    }
}

/// A file that is cut to a length and then only grows.
private struct AppendingFile {
    private let file: Descriptor
    private let path: String
    private var pending: [UInt8] = []
    private var length: Int

    init(path: String, length: Int) throws(FileError) {
        self.path = path
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError.cannotCreate(path: path, reason: FileError.systemReason()) }
        file = Descriptor(descriptor)
        guard ftruncate(descriptor, length) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else {
            throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
        }
        self.length = length
    }

    mutating func append(_ text: String) throws(FileError) {
        pending += text.utf8
        if pending.count > 1 << 14 { try flush() }
    }

    @discardableResult
    mutating func flush() throws(FileError) -> Int {
        var offset = 0
        while offset < pending.count {
            let sent = pending.withUnsafeBytes { write(file.number, $0.baseAddress! + offset, $0.count - offset) }
            if sent < 0 {
                if errno == EINTR { continue }
                throw FileError.cannotWrite(path: path, reason: FileError.systemReason())
            }
            offset += sent
        }
        length += pending.count
        pending.removeAll(keepingCapacity: true)
        return length
    }

    /// An open file that closes with its last user.
    private final class Descriptor {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }
}
