import GraftCore
import GraftFormats

extension OutputParity {
    /// The comparison as text.
    var text: String {
        var table = Table([
            ("output", .left), ("shape", .left), ("largest difference", .right), ("of the scale", .right),
        ])
        for entry in entries {
            table.add([
                entry.name, "\(entry.shape)", Format.scientific(entry.comparison.largestDifference),
                Format.scientific(entry.comparison.relativeDifference),
            ])
        }
        return table.text()
    }

    /// The comparison as JSON.
    var json: JSON {
        JSON(
            entries.map {
                [
                    "name": JSON($0.name), "shape": JSON($0.shape),
                    "largest_difference": JSON($0.comparison.largestDifference),
                    "relative_difference": JSON($0.comparison.relativeDifference),
                ]
            })
    }
}

extension VerifiedExport.Report {
    /// The report in a few words.
    var summary: String {
        let lost = notices.map { "; \($0)" }.joined()
        guard let parity else { return "\(Format.bytes(byteCount)); \(remark)\(lost)" }
        return "\(Format.bytes(byteCount)); outputs differ by at most "
            + "\(Format.scientific(parity.largestRelativeDifference)) of their scale\(lost)"
    }

    /// The report as JSON.
    var json: JSON {
        var result: JSON = ["bytes": JSON(byteCount), "verified": JSON(parity != nil)]
        if let parity {
            result["largest_relative_difference"] = JSON(parity.largestRelativeDifference)
            result["outputs"] = parity.json
        }
        if !notices.isEmpty { result["notices"] = JSON(notices) }
        if !remark.isEmpty { result["remark"] = JSON(remark) }
        return result
    }
}
