import GraftCore

/// A CSV file as a data set: paths of pictures with labels, or numbers with a label.
public enum TableFile {
    private static let labelNames = ["label", "labels", "class", "target", "category", "y"]
    private static let pathNames = ["path", "image", "file", "filename", "filepath", "file_name", "image_path"]

    /// Opens the table at `path`.
    ///
    /// With a column of picture paths (named `path`, `image`, `file` or the like, or holding picture names) it is a set of
    /// pictures, whose paths start at the table's folder. Otherwise all columns but the label are numbers, and each row
    /// is one input. A first row without numbers is a header. The label is the column named `label`, `class`, `target` or
    /// the like; columns of 0 and 1 beside the paths are one class each; without a header the label is the first or last column, whichever alone holds whole numbers or text.
    /// - Parameters:
    ///   - labelColumn: the label's column by name or by number, counted from 1.
    ///   - modelClasses: a model's class names, which give the labels; whole numbers count as positions in it.
    /// - Throws: ``DataSetError`` or ``FileError``.
    public static func open(
        path: String, labelColumn: String? = nil, modelClasses: [String]? = nil, skippingUnusable: Bool = false,
        limits: Limits = Limits(), cacheBytes: Int = 512 << 20
    ) throws -> any DataSet {
        var rows: [(line: Int, fields: [String])] = []
        try CSV.read(path: path, limits: limits) { line, fields in
            if let first = rows.first, first.fields.count != fields.count {
                throw DataSetError.badTable(
                    path: path, line: line,
                    reason: "\(fields.count) columns, but the first row has \(first.fields.count)")
            }
            guard rows.count < limits.objectCount else {
                throw DataSetError.badTable(path: path, line: line, reason: "more rows than the limit object-count")
            }
            rows.append((line, fields))
        }
        guard let first = rows.first else {
            throw DataSetError.badTable(path: path, line: nil, reason: "the table is empty")
        }
        var header: [String]?
        if isHeader(first.fields) {
            header = first.fields.map { $0.lowercased() }
            rows.removeFirst()
        }
        guard let sample = rows.first?.fields else {
            throw DataSetError.badTable(path: path, line: nil, reason: "the table has a header but no rows")
        }
        guard sample.count >= 2 else {
            throw DataSetError.badTable(
                path: path, line: first.line, reason: "a label and at least one other column are needed")
        }
        let pathColumn =
            header?.firstIndex(where: pathNames.contains) ?? sample.firstIndex(where: ImageFormat.isPictureName)
        if let pathColumn, labelColumn == nil,
            let several = try severalLabels(
                header, rows: rows, paths: pathColumn, modelClasses: modelClasses, path: path)
        {
            let folder = AtomicFile.folder(of: path)
            let numbers = ArrayTargets.combinations(
                several.marks.flatMap { $0 }, width: several.names.count, count: rows.count)
            let entries = rows.indices.map { index in
                let name = rows[index].fields[pathColumn]
                return ImageDataSet.Entry(
                    path: name.hasPrefix("/") ? name : "\(folder)/\(name)", label: numbers[index],
                    marks: several.marks[index])
            }
            let checked = try ImageDataSet.checked(entries, path: path, limits: limits, skipping: skippingUnusable)
            return ImageDataSet(
                entries: checked.entries, classNames: several.names, skipped: checked.skipped, limits: limits,
                cacheBytes: cacheBytes)
        }
        let label = try self.labelColumn(labelColumn, header: header, rows: rows, paths: pathColumn, path: path)
        let (classNames, labels) = try classes(rows.map { $0.fields[label] }, modelClasses: modelClasses, path: path)
        if let pathColumn {
            let folder = AtomicFile.folder(of: path)
            let entries = zip(rows, labels).map { row, label in
                let name = row.fields[pathColumn]
                return ImageDataSet.Entry(path: name.hasPrefix("/") ? name : "\(folder)/\(name)", label: label)
            }
            let checked = try ImageDataSet.checked(entries, path: path, limits: limits, skipping: skippingUnusable)
            return ImageDataSet(
                entries: checked.entries, classNames: classNames, skipped: checked.skipped, limits: limits,
                cacheBytes: cacheBytes)
        }
        var values: [Float] = []
        values.reserveCapacity(rows.count * (sample.count - 1))
        for row in rows {
            for (column, field) in row.fields.enumerated() where column != label {
                guard let value = Float(field), value.isFinite else {
                    let name = header.map { "\"\($0[column])\"" } ?? "\(column + 1)"
                    throw DataSetError.badTable(
                        path: path, line: row.line, reason: "column \(name) holds \"\(field)\", which is no number")
                }
                values.append(value)
            }
        }
        return TableDataSet(
            path: path, lines: rows.map(\.line), values: values, columns: sample.count - 1, labels: labels,
            classNames: classNames)
    }

    /// Columns of 0 and 1, one a class with its name in the header, beside the column of paths; nil where there are none.
    private static func severalLabels(
        _ header: [String]?, rows: [(line: Int, fields: [String])], paths: Int, modelClasses: [String]?, path: String
    ) throws(DataSetError) -> (names: [String], marks: [[Float]])? {
        guard let header, header.count > 2, !header.contains(where: labelNames.contains) else { return nil }
        let columns = header.indices.filter { $0 != paths }
        guard rows.allSatisfy({ row in columns.allSatisfy { ["0", "1"].contains(row.fields[$0]) } }) else { return nil }
        // The header is compared without regard to case.
        let names = modelClasses ?? columns.map { header[$0] }
        var order: [Int] = []
        for name in names {
            guard let column = columns.first(where: { header[$0] == name.lowercased() }) else {
                throw .badTable(path: path, line: 1, reason: "there is no column for the model's class \"\(name)\"")
            }
            order.append(column)
        }
        return (names, rows.map { row in order.map { row.fields[$0] == "1" ? 1 : 0 } })
    }

    private static func isHeader(_ fields: [String]) -> Bool {
        if fields.contains(where: { labelNames.contains($0.lowercased()) || pathNames.contains($0.lowercased()) }) {
            return true
        }
        return fields.allSatisfy { Float($0) == nil && !ImageFormat.isPictureName($0) && !$0.isEmpty }
    }

    private static func labelColumn(
        _ wanted: String?, header: [String]?, rows: [(line: Int, fields: [String])], paths: Int?, path: String
    ) throws(DataSetError) -> Int {
        let count = rows[0].fields.count
        if let wanted {
            if let index = header?.firstIndex(of: wanted.lowercased()) { return index }
            if let number = Int(wanted), number >= 1, number <= count { return number - 1 }
            let names = header.map { Suggestion.sentence(wanted, in: $0) } ?? ""
            throw .badTable(path: path, line: nil, reason: "there is no column \"\(wanted)\".\(names)")
        }
        if let index = header?.firstIndex(where: labelNames.contains) { return index }
        if let paths, count == 2 { return 1 - paths }
        func couldBeLabel(_ column: Int) -> Bool {
            column != paths && rows.allSatisfy { Int($0.fields[column]) != nil || Float($0.fields[column]) == nil }
        }
        switch (couldBeLabel(0), couldBeLabel(count - 1)) {
        case (true, false): return 0
        case (false, true): return count - 1
        default:
            throw .badTable(
                path: path, line: nil,
                reason: "it is not clear which column is the label; name it \"label\" in a header, or say which it is")
        }
    }

    /// The class names and each row's label.
    static func classes(
        _ names: [String], modelClasses: [String]?, path: String
    ) throws(DataSetError) -> (classNames: [String], labels: [Int]) {
        if let modelClasses, !Set(names).isSubset(of: modelClasses) {
            let numbers = names.compactMap { Int($0) }
            if numbers.count == names.count, numbers.allSatisfy(modelClasses.indices.contains) {
                return (modelClasses, numbers)
            }
        }
        let (classNames, labels) = try ClassList.resolve(Set(names), modelClasses: modelClasses, path: path)
        return (classNames, names.map { labels[$0] ?? 0 })
    }
}

/// Rows of numbers, each with a class.
public struct TableDataSet: DataSet {
    private let path: String
    private let lines: [Int]
    private let values: [Float]
    private let rowLabels: [Int]
    /// The number of numbers in a row.
    public let columns: Int
    /// The names of the classes, in the order of their labels.
    public let classNames: [String]

    init(path: String, lines: [Int], values: [Float], columns: Int, labels: [Int], classNames: [String]) {
        self.path = path
        self.lines = lines
        self.values = values
        self.columns = columns
        rowLabels = labels
        self.classNames = classNames
    }

    /// The number of samples.
    public var count: Int { rowLabels.count }

    /// The class of a sample.
    public func label(at index: Int) -> Int { rowLabels[index] }

    /// The table's path and the line of a row.
    public func name(at index: Int) -> String { "\(path):\(lines[index])" }

    /// The inputs of one sample.
    public func inputs(as view: SampleView) -> [SampleInput] { [SampleInput(elementType: .float32, shape: [columns])] }

    /// Writes one sample's inputs.
    public func load(_ index: Int, as view: SampleView, into targets: [UnsafeMutableRawBufferPointer]) throws {
        guard let target = targets.first else { return }
        values.withUnsafeBytes { bytes in
            let size = columns * MemoryLayout<Float>.stride
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[(index * size)..<((index + 1) * size)]))
        }
    }

    /// The digest of a row's numbers.
    public func contentHash(at index: Int) throws -> ContentHash {
        values[(index * columns)..<((index + 1) * columns)].withUnsafeBytes { ContentHash($0) }
    }
}
