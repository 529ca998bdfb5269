import GraftCore
import OrderedCollections

/// What a run did and what came of it: the content of `report.json` and of the report page.
public struct RunReport: Sendable {
    /// One stage as it ran.
    public struct StageResult: Sendable {
        /// The stage's name.
        public var name: String
        /// The number of parameters that learned.
        public var trainable: Int
        /// The first step, counted from 1 over the whole run.
        public var firstStep: Int
        /// The last step.
        public var lastStep: Int
        /// The step whose weights were kept.
        public var keptStep: Int
        /// Whether the stage ended before its length because nothing improved.
        public var endedEarly: Bool
        /// The layer from which features of the frozen part were kept; nil where everything ran each time.
        public var featuresFrom: String?

        /// One stage as it ran.
        public init(
            name: String, trainable: Int, firstStep: Int, lastStep: Int, keptStep: Int, endedEarly: Bool,
            featuresFrom: String?
        ) {
            self.name = name
            self.trainable = trainable
            self.firstStep = firstStep
            self.lastStep = lastStep
            self.keptStep = keptStep
            self.endedEarly = endedEarly
            self.featuresFrom = featuresFrom
        }
    }

    /// One layer of the model as the run left it.
    public struct LayerRow: Sendable {
        /// The layer's path.
        public var path: String
        /// What it does.
        public var kind: String
        /// The number of its parameters.
        public var parameters: Int
        /// The number of those that learned in some stage.
        public var trained: Int
        /// The factor on the rate in the last stage; nil for a layer that did not learn.
        public var multiplier: Double?

        /// One layer.
        public init(path: String, kind: String, parameters: Int, trained: Int, multiplier: Double?) {
            self.path = path
            self.kind = kind
            self.parameters = parameters
            self.trained = trained
            self.multiplier = multiplier
        }
    }

    /// The model's name, for the title.
    public var model: String
    /// The recipe as it ran, as YAML.
    public var recipe: String
    /// The names of the classes.
    public var labels: [String]
    /// The number of training samples.
    public var trainingSamples: Int
    /// The number of validation samples.
    public var validationSamples: Int
    /// The stages as they ran.
    public var stages: [StageResult]
    /// Every step.
    public var steps: [StepRecord]
    /// Every validation.
    public var validations: [ValidationRecord]
    /// The validation figures before the first step.
    public var before: Evaluation?
    /// The validation figures of the result.
    public var after: Evaluation?
    /// The figures of the task that the model came with, before and after; nil where it was not followed.
    public var retention: (before: Evaluation, after: Evaluation)?
    /// The layers.
    public var layers: [LayerRow]
    /// How long the run took, in seconds, without what was done before an interruption.
    public var seconds: Double
    /// How many training samples were used a second.
    public var samplesPerSecond: Double
    /// What a reader should know: checkpoints that were passed over, layers that stay frozen.
    public var remarks: [String]

    /// A report of nothing yet.
    public init(model: String, recipe: String, labels: [String]) {
        self.model = model
        self.recipe = recipe
        self.labels = labels
        trainingSamples = 0
        validationSamples = 0
        stages = []
        steps = []
        validations = []
        layers = []
        seconds = 0
        samplesPerSecond = 0
        remarks = []
    }

    /// The content of `report.json`: everything but the single steps, which `metrics.jsonl` has.
    public func json() -> JSON {
        var result: JSON = [
            "model": JSON(model), "labels": JSON(labels),
            "samples": ["training": JSON(trainingSamples), "validation": JSON(validationSamples)],
            "steps": JSON(steps.last?.step ?? 0),
            "stages": JSON(
                stages.map { stage -> JSON in
                    [
                        "name": JSON(stage.name), "trainable": JSON(stage.trainable),
                        "first_step": JSON(stage.firstStep), "last_step": JSON(stage.lastStep),
                        "kept_step": JSON(stage.keptStep), "ended_early": JSON(stage.endedEarly),
                        "features_from": JSON(optional: stage.featuresFrom),
                    ]
                }),
            "before": before?.json(labels: labels) ?? .null, "after": after?.json(labels: labels) ?? .null,
            "seconds": JSON(seconds), "samples_per_second": JSON(samplesPerSecond), "remarks": JSON(remarks),
            "recipe": JSON(recipe),
        ]
        if let retention {
            result["retention"] = ["before": retention.before.json(), "after": retention.after.json()]
        }
        return result
    }
}
