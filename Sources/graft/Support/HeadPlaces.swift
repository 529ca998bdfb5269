import GraftCore
import GraftIR
import GraftSurgery

/// The places of a model where a head could go.
struct HeadPlaces {
    private let maps: [FeatureMap]
    private let standard: FeatureMap?
    private let heads: [HeadCandidate]
    private let rejected: [String]
    private let dense: Bool

    /// Looks for feature maps, or for classifiers.
    init(_ model: Model, dense: Bool) throws {
        self.dense = dense
        if dense {
            let found = try FeatureMaps(model)
            (maps, standard) = (found.candidates, found.standard)
            (heads, rejected) = ([], [])
        } else {
            (maps, standard) = ([], nil)
            (heads, rejected) = HeadFinder(model).candidates()
        }
    }

    func print(json: Bool) {
        if json {
            Console.output(self.json.text(.indented))
        } else if dense {
            var table = Table([
                ("feature map", .left), ("layer", .left), ("channels", .right), ("stride", .right), ("", .left),
            ])
            for map in maps {
                table.add([
                    map.name, map.layer, "\(map.channels)", "\(map.stride)",
                    map.value == standard?.value ? "taken without --at" : map.isCut ? "" : "others bypass it",
                ])
            }
            Console.output(table.text())
        } else {
            for head in heads { Console.output("\(Format.percent(head.score))  \(head.reason)") }
            for reason in rejected { Console.output("none: \(reason)") }
            if heads.isEmpty { Console.note("no classifier found; a head can be put behind the output") }
        }
    }

    private var json: JSON {
        if dense {
            return [
                "feature_maps": JSON(
                    maps.map {
                        [
                            "name": JSON($0.name), "layer": JSON($0.layer), "channels": JSON($0.channels),
                            "stride": JSON($0.stride), "is_cut": JSON($0.isCut),
                            "is_standard": JSON($0.value == standard?.value),
                        ]
                    })
            ]
        }
        return [
            "heads": JSON(
                heads.map {
                    [
                        "reason": JSON($0.reason), "score": JSON($0.score), "features": JSON($0.featureCount),
                        "classes": JSON($0.classCount),
                    ]
                }), "rejected": JSON(rejected),
        ]
    }
}
