import GraftCore

extension Patch: CustomStringConvertible {
    /// The patch as a diff: a line a node and a weight, `-` for what goes, `+` for what comes, `~` for what changes.
    public var description: String {
        lines.map { "\($0.mark) \($0.kind) \($0.text)" }.joined(separator: "\n")
    }

    /// The patch as JSON: the title and one object a line of the diff.
    public var json: JSON {
        [
            "title": JSON(title),
            "changes": JSON(
                lines.map { ["change": JSON(Self.words[$0.mark] ?? ""), "kind": JSON($0.kind), "text": JSON($0.text)] }),
        ]
    }

    private static let words: [Character: String] = ["-": "remove", "+": "add", "~": "change"]

    private struct Line {
        let mark: Character
        let kind: String
        let text: String
    }

    private var lines: [Line] {
        var result: [Line] = []
        // A node whose only change is a handle among its outputs or inputs still shows: that is what a tap is.
        for (_, change) in nodes.sorted(by: { $0.key < $1.key }) {
            result += Self.lines(change, kind: "node", text: text)
        }
        for (_, change) in values.sorted(by: { $0.key < $1.key }) {
            guard change.before?.isInitializer ?? false || change.after?.isInitializer ?? false else { continue }
            result += Self.lines(change, kind: "tensor", text: text)
        }
        if let frame {
            let (before, after) = (frame.before, frame.after)
            if before?.inputs != after?.inputs { result.append(Line(mark: "~", kind: "graph", text: "inputs")) }
            if before?.outputs != after?.outputs { result.append(Line(mark: "~", kind: "graph", text: "outputs")) }
            if before?.metadata != after?.metadata { result.append(Line(mark: "~", kind: "graph", text: "metadata")) }
        }
        if let shell { result += Self.shellLines(shell) }
        return result
    }

    private static func shellLines(_ shell: Change<Model>) -> [Line] {
        var result: [Line] = []
        let before = shell.before?.metadata ?? Metadata()
        let after = shell.after?.metadata ?? Metadata()
        for key in Set((before.entries + after.entries).map(\.key)).sorted() where before[key] != after[key] {
            let mark: Character = before[key] == nil ? "+" : after[key] == nil ? "-" : "~"
            let value = (after[key] ?? before[key] ?? "")
            result.append(Line(mark: mark, kind: "metadata", text: "\(key) = \(shortened(value))"))
        }
        if shell.before?.opsets != shell.after?.opsets {
            let opsets = (shell.after?.opsets ?? []).map {
                "\($0.domain.isEmpty ? "ai.onnx" : $0.domain) \($0.version)"
            }
            result.append(Line(mark: "~", kind: "model", text: "opsets \(opsets.joined(separator: ", "))"))
        }
        if shell.before?.functions != shell.after?.functions {
            result.append(Line(mark: "~", kind: "model", text: "functions"))
        }
        return result
    }

    private static func shortened(_ text: String) -> String {
        text.count <= 60 ? text : "\(text.prefix(57))..."
    }

    private static func lines<Item>(
        _ change: Change<Item>, kind: String, text: (Item) -> String
    ) -> [Line] {
        switch (change.before, change.after) {
        case (let before?, nil): [Line(mark: "-", kind: kind, text: text(before))]
        case (nil, let after?): [Line(mark: "+", kind: kind, text: text(after))]
        case (let before?, let after?):
            text(before) == text(after)
                ? [Line(mark: "~", kind: kind, text: text(after))]
                : [Line(mark: "-", kind: kind, text: text(before)), Line(mark: "+", kind: kind, text: text(after))]
        case (nil, nil): []
        }
    }

    private func text(_ node: Node) -> String {
        node.name.isEmpty ? node.op.description : "\(node.name) (\(node.op))"
    }

    private func text(_ value: Value) -> String {
        let type = value.elementType?.name ?? "?"
        return "\(value.name) \(type) \(value.shape.map(\.description) ?? "sparse")"
    }
}
