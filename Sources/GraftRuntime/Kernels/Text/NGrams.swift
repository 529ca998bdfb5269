import GraftCore
import GraftIR

/// TfIdfVectorizer.
enum NGramKernels: KernelFamily {
    static var definitions: [KernelDefinition] {
        [KernelDefinition("TfIdfVectorizer") { try NGramKernel($0) }]
    }
}

/// Counts how often the n-grams of a pool stand in rows of tokens.
final class NGramKernel: Kernel {
    private enum Token: Hashable {
        case number(Int64)
        case text([UInt8])
    }

    private enum Mode: String { case count = "TF", presence = "IDF", weightedCount = "TFIDF" }

    /// A token behind a prefix of an n-gram.
    private struct Edge: Hashable {
        let node: Int
        let token: Token
    }

    private let mode: Mode
    private let (shortest, longest, skips): (Int, Int, Int)
    private let columns: [Int]
    private let width: Int
    private let weights: [Float]
    /// The tree of prefixes: its edges, and for each node the n-gram that ends there.
    private var edges: [Edge: Int] = [:]
    private var grams: [Int?] = [nil]

    init(_ node: KernelNode) throws {
        let attributes = node.attributes
        guard let shortest = attributes.int("min_gram_length"), let longest = attributes.int("max_gram_length"),
            let skips = attributes.int("max_skip_count"), let counts = attributes.ints("ngram_counts"),
            let columns = attributes.ints("ngram_indexes"), let mode = attributes.string("mode").flatMap(Mode.init)
        else { throw KernelFailure("an attribute is missing or of another kind") }
        guard shortest >= 1, longest >= shortest, skips >= 0, columns.allSatisfy({ $0 >= 0 && $0 < 1 << 32 }) else {
            throw KernelFailure("lengths \(shortest) to \(longest) with \(skips) skips")
        }
        (self.shortest, self.longest, self.skips) = (shortest, longest, skips)
        self.mode = mode
        self.columns = columns
        width = (columns.max() ?? -1) + 1
        weights = mode == .count ? [] : attributes.floats("weights") ?? []
        // Column by column, as ONNX's reference implementation has it.
        guard weights.isEmpty || weights.count >= width else {
            throw KernelFailure("\(weights.count) weights for \(width) columns")
        }
        let pool: [Token]
        if case .strings(let texts)? = attributes["pool_strings"] {
            pool = texts.map { .text($0) }
        } else {
            pool = (attributes.ints("pool_int64s") ?? []).map { .number(Int64($0)) }
        }
        try build(pool, counts)
    }

    private func build(_ pool: [Token], _ counts: [Int]) throws {
        var gram = 0
        for (index, start) in counts.enumerated() {
            let end = index + 1 < counts.count ? counts[index + 1] : pool.count
            guard start >= 0, end >= start, end <= pool.count else {
                throw KernelFailure("ngram_counts \(counts) do not divide a pool of \(pool.count)")
            }
            let length = index + 1
            for number in 0..<((end - start) / length) {
                defer { gram += 1 }
                guard length >= shortest, length <= longest else { continue }
                guard gram < columns.count else { throw KernelFailure("the pool has more n-grams than ngram_indexes") }
                var node = 0
                for position in 0..<length {
                    let edge = Edge(node: node, token: pool[start + number * length + position])
                    if let next = edges[edge] {
                        node = next
                    } else {
                        edges[edge] = grams.count
                        node = grams.count
                        grams.append(nil)
                    }
                }
                grams[node] = gram
            }
        }
    }

    func run(_ context: KernelContext) throws {
        let value = try context.value(0)
        guard let shape = value.shape, (1...2).contains(shape.count) else {
            throw KernelFailure("the input must have one or two axes")
        }
        let tokens: [Token]
        if case .strings(let strings) = value {
            tokens = strings.elements.map { .text($0) }
        } else {
            tokens = try context.integers(0).map { .number(Int64($0)) }
        }
        let rows = shape.count == 2 ? shape[0] : 1
        let length = shape[shape.count - 1]
        let y = try context.output(0, .float32, shape.count == 2 ? [rows, width] : [width])
        y.floats.update(repeating: 0, count: y.count)
        for row in 0..<rows where length > 0 && width > 0 {
            let target = y.floats + row * width
            count(tokens[(row * length)..<((row + 1) * length)], into: target)
            for column in 0..<width where mode != .count {
                let weight = weights.isEmpty ? 1 : weights[column]
                target[column] = mode == .presence ? (target[column] > 0 ? weight : 0) : target[column] * weight
            }
        }
    }

    private func count(_ tokens: ArraySlice<Token>, into target: UnsafeMutablePointer<Float>) {
        // Nothing that is longer than the row is found.
        var shortest = min(shortest, tokens.count + 1)
        // Steps longer than the row find nothing that shorter ones do not.
        for step in 1...min(skips, tokens.count) + 1 where shortest <= longest {
            for start in tokens.indices {
                guard start + step * (shortest - 1) < tokens.endIndex else { break }
                var node = 0
                for (length, position) in stride(from: start, to: tokens.endIndex, by: step).enumerated() {
                    guard length < longest, let next = edges[Edge(node: node, token: tokens[position])] else { break }
                    node = next
                    if length + 1 >= shortest, let gram = grams[node] { target[columns[gram]] += 1 }
                }
            }
            // A single token has no gaps, so it counts once.
            if shortest == 1 { shortest = 2 }
        }
    }
}
