import GraftCore
import GraftData
import GraftIR

#if canImport(Glibc)
import Glibc
#endif

/// The facts that a run's numbers follow from; a run resumes only where they are as they were.
struct RunContext {
    /// What must be equal: a name for messages, and the fact.
    let facts: [(name: String, value: String)]
    /// What changes bits but not the run: threads and the processor's instructions.
    let machine: [(name: String, value: String)]

    init(model: Model, recipe: Recipe, training: any TrainingSamples, validation: (any TrainingSamples)?) throws {
        facts = [
            ("the model", try Self.digest(model)), ("the recipe", recipe.completed().yaml()),
            ("the training data", try Self.digest(training)),
            ("the validation data", try validation.map(Self.digest) ?? "none"),
        ]
        machine = [("threads", String(Parallel.threads)), ("instructions", Self.instructions)]
    }

    var json: JSON {
        var result: JSON = [:]
        for fact in facts + machine { result[fact.name] = JSON(fact.value) }
        return result
    }

    /// What differs from a checkpoint's record: facts that forbid to go on, and remarks about the machine.
    func differences(from json: JSON) -> (refusals: [String], remarks: [String]) {
        let refusals = facts.filter { json[$0.name]?.string != $0.value }.map { "\($0.name) is not what it was" }
        let remarks = machine.filter { json[$0.name]?.string != $0.value }.map { fact in
            "the number or kind of \(fact.name) differs from before (\(json[fact.name]?.string ?? "?") then, "
                + "\(fact.value) now); the result is right but may differ in the last bits from an undisturbed run"
        }
        return (refusals, remarks)
    }

    private static func digest(_ model: Model) throws -> String {
        let hasher = ContentHash.Hasher()
        for id in model.graph.order { hasher.update("\(model.graph[id].op)") }
        for id in model.graph.initializers {
            guard let tensor = model.graph[id].tensor, tensor.elementType != .string else { continue }
            hasher.update("\(model.graph[id].name) \(tensor.elementType.name) \(tensor.shape)")
            try tensor.withBytes { hasher.update($0) }
        }
        return hasher.finish().description
    }

    /// The classes of all samples, and the content of a few.
    private static func digest(_ samples: any TrainingSamples) throws -> String {
        let hasher = ContentHash.Hasher()
        hasher.update("\(samples.count) \(samples.classNames ?? [])")
        samples.labels.withUnsafeBytes { hasher.update($0) }
        if samples.count > 0 {
            for position in Set([0, samples.count / 2, samples.count - 1]).sorted() {
                hasher.update(try samples.contentHash(of: position).description)
                guard samples.targetKind != .classes else { continue }
                try samples.targets([position], variation: nil).withBytes { hasher.update($0) }
            }
        }
        return hasher.finish().description
    }

    /// The vector instructions that kernels choose by.
    private static var instructions: String {
        // Files in /proc say that they are empty; they are read as a stream.
        guard let stream = fopen("/proc/cpuinfo", "r") else { return "unknown" }
        defer { fclose(stream) }
        var line = [CChar](repeating: 0, count: 1 << 14)
        while fgets(&line, Int32(line.count), stream) != nil {
            let text = line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            guard text.hasPrefix("flags") else { continue }
            let known: Set<Substring> = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "fma"]
            return text.split(whereSeparator: \.isWhitespace).filter(known.contains).sorted().joined(separator: " ")
        }
        return "unknown"
    }
}
