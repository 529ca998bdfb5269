/// Near misses for names that were not found.
public enum Suggestion {
    /// The candidates closest to `name`, best first, at most `limit`, none that are far off.
    public static func nearest(_ name: String, in candidates: some Sequence<String>, limit: Int = 3) -> [String] {
        let wanted = Array(name.lowercased().utf8)
        let bound = max(2, wanted.count / 3)
        return
            candidates
            .map { ($0, distance(wanted, Array($0.lowercased().utf8), bound: bound)) }
            .filter { $0.1 <= bound || $0.0.lowercased().contains(name.lowercased()) && !name.isEmpty }
            .sorted { ($0.1, $0.0) < ($1.1, $1.0) }
            .prefix(limit).map(\.0)
    }

    /// A sentence such as ` Did you mean "rate"?`, or nothing.
    public static func sentence(_ name: String, in candidates: some Sequence<String>) -> String {
        let near = nearest(name, in: candidates)
        guard !near.isEmpty else { return "" }
        return " Did you mean \(near.map { "\"\($0)\"" }.joined(separator: " or "))?"
    }

    /// The Levenshtein distance, or `bound + 1` as soon as it must exceed `bound`.
    private static func distance(_ a: [UInt8], _ b: [UInt8], bound: Int) -> Int {
        if abs(a.count - b.count) > bound { return bound + 1 }
        var row = Array(0...b.count)
        for i in 1..<(a.count + 1) {
            var diagonal = row[0]
            row[0] = i
            for j in 1..<(b.count + 1) {
                let substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)
                diagonal = row[j]
                row[j] = min(substitution, row[j] + 1, row[j - 1] + 1)
            }
        }
        return row[b.count]
    }
}
