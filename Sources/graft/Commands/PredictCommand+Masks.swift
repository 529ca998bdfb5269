import GraftCore
import GraftData
import GraftTraining

extension PredictCommand {
    /// Says the class of each pixel, and writes masks and overlays where a folder is given.
    func segment(_ segmenter: Segmenter, input: String, names: [String], limits: Limits) throws {
        if let output { try Folders.make(output) }
        var results: [JSON] = []
        var taken = Set<String>()
        for path in pictures {
            let image = try Image(path: path, limits: limits)
            let mask = try segmenter.mask(of: image, input: input)
            var counts = [Int](repeating: 0, count: 256)
            for value in mask.pixels { counts[Int(value)] += 1 }
            let seen = max(mask.pixels.count - counts[Mask.ignored], 1)
            let present = (0..<Mask.ignored).filter { counts[$0] > 0 }.sorted { counts[$0] > counts[$1] }
            func name(_ index: Int) -> String { names.indices.contains(index) ? names[index] : "class \(index)" }
            func share(_ index: Int) -> Double { Double(counts[index]) / Double(seen) }
            var entry: JSON = [
                "path": JSON(path),
                "classes": JSON(
                    present.map { ["name": JSON(name($0)), "index": JSON($0), "share": JSON(share($0))] }),
            ]
            if let output {
                // Pictures of one name from several folders get numbers.
                var stem = Self.stem(path)
                var number = 2
                while !taken.insert(stem).inserted {
                    stem = "\(Self.stem(path))-\(number)"
                    number += 1
                }
                let (maskPath, overlayPath) = ("\(output)/\(stem).mask.png", "\(output)/\(stem).overlay.png")
                try mask.writePNG(to: maskPath, hasPalette: true)
                try image.overlaid(with: mask).writePNG(to: overlayPath)
                entry["mask"] = JSON(maskPath)
                entry["overlay"] = JSON(overlayPath)
            }
            results.append(entry)
            guard !common.json else { continue }
            Console.output(path)
            for index in present.prefix(max(top, 1)) {
                Console.output("  \(name(index))  \(Format.percent(share(index))) of the pixels")
            }
            if let file = entry["mask"]?.string { Console.note("  \(file), \(entry["overlay"]?.string ?? "")") }
        }
        if common.json { Console.output(JSON(results).text(.indented)) }
    }

    private static func stem(_ path: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return name }
        return String(name[..<dot])
    }
}
