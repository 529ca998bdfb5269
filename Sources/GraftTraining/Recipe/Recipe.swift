import GraftData

/// What a fine-tuning run does: the data, the loss, the optimizer and the stages.
///
/// A plain value. ``init(yaml:source:)`` reads it from YAML, ``yaml()`` writes it with every default spelled out, and
/// ``TrainingPlan`` resolves it for a model. `formats/recipe.md` is the definition of the file.
public struct Recipe: Sendable, Equatable {
    /// Where the samples come from and how they are varied.
    public var data = DataSettings()
    /// The number of samples in a batch.
    public var batch = 32
    /// The number of batches whose gradients are averaged for one optimizer step.
    public var accumulate = 1
    /// The seed of everything that is random.
    public var seed: UInt64 = 42
    /// What is minimised.
    public var loss = LossSettings()
    /// How weights are updated.
    public var optimizer = OptimizerSettings()
    /// How batch normalisation behaves.
    public var batchNorm = BatchNormSettings()
    /// The norm of all gradients together that a step is scaled down to; nil for no bound.
    public var clip: Double?
    /// How features of the frozen part are kept.
    public var features = FeatureSettings()
    /// How often the state of the run is saved.
    public var checkpoints = CheckpointSettings()
    /// Which validation figure decides what is best.
    public var monitor = Monitor.loss
    /// The stages, in order.
    public var stages: [Stage]

    /// A recipe with defaults for everything but the stages.
    public init(stages: [Stage]) { self.stages = stages }
}

/// Where the samples come from and how they are varied.
public struct DataSettings: Sendable, Equatable {
    /// The training data: an image folder, a CSV or an NPZ; nil where the caller names it.
    public var train: String?
    /// What progress is measured on.
    public var validation = Validation.fraction(0.2)
    /// Whether every epoch has its own order.
    public var shuffle = true
    /// How training samples are varied, in order.
    public var augment: [AugmentationSetting] = []

    /// Data whose path the caller names.
    public init() {}

    /// What progress is measured on.
    public enum Validation: Sendable, Equatable {
        /// A part of the training data, split off class by class.
        case fraction(Double)
        /// Data of its own.
        case path(String)
    }
}

/// One way to vary training samples: its name and settings, which the data module defines.
public struct AugmentationSetting: Sendable, Equatable {
    /// The name, such as `crop` or `flip`.
    public var name: String
    /// The settings that were spelled out: one number, or a low and a high one.
    public var values: [String: [Double]]

    /// A way to vary samples.
    public init(_ name: String, _ values: [String: [Double]] = [:]) {
        self.name = name
        self.values = values
    }
}

/// What is minimised.
public struct LossSettings: Sendable, Equatable {
    /// The loss and its settings.
    public var choice = NamedChoice("cross-entropy")
    /// How much each class counts.
    public var classWeights = ClassWeights.equal

    /// Cross-entropy with all classes equal.
    public init() {}

    /// The label of pixels that do not count.
    var ignored: Int { Int(choice.values["ignore"] ?? Double(Mask.ignored)) }

    /// How much each class counts.
    public enum ClassWeights: Sendable, Equatable {
        /// All the same.
        case equal
        /// Inversely to how often the class occurs in the training data, with mean 1 over the samples.
        case balanced
        /// As given, a number a class.
        case given([Double])
    }
}

/// How weights are updated.
public struct OptimizerSettings: Sendable, Equatable {
    /// The rule and its settings.
    public var choice = NamedChoice("adamw")
    /// Whether biases, normalisation scales and other one-dimensional parameters are spared weight decay.
    public var exempt = true

    /// AdamW with its defaults.
    public init() {}
}

/// How batch normalisation behaves.
public struct BatchNormSettings: Sendable, Equatable {
    /// Where mean and variance come from.
    public enum Mode: String, Sendable, CaseIterable {
        /// From the running statistics, which stay as they are.
        case frozen
        /// From each batch, and the running statistics follow.
        case train
    }

    /// Where mean and variance come from.
    public var mode = Mode.frozen
    /// Whether scale and bias learn in layers that are thawed.
    public var affine = true
    /// Whether running variances follow the unbiased variance of batches, as in PyTorch; ONNX and Keras take the biased
    /// one.
    public var unbiased = false

    /// Frozen statistics.
    public init() {}
}

/// How features of the frozen part of the network are kept.
public struct FeatureSettings: Sendable, Equatable {
    /// Whether they are computed once and kept on disk.
    public var cache = true
    /// The number of differently varied versions of each sample; 1 is each sample as it is.
    public var views = 1

    /// One version of each sample.
    public init() {}
}

/// How often the state of a run is saved.
public struct CheckpointSettings: Sendable, Equatable {
    /// The least number of seconds between two checkpoints; the end of a stage and an interruption always save.
    public var seconds = 30.0
    /// The number of checkpoints that are kept.
    public var keep = 2

    /// Every half minute, two kept.
    public init() {}
}

/// A validation figure that decides what is best.
public enum Monitor: String, Sendable, CaseIterable {
    /// The loss; lower is better.
    case loss
    /// The part of samples whose first guess is right; higher is better.
    case accuracy
    /// The mean of F1 over the classes; higher is better.
    case f1
    /// The mean of intersection over union over the classes; higher is better.
    case iou
    /// The mean of average precision over the classes of samples that may have several; higher is better.
    case map

    /// Whether a lower figure is better.
    public var lowerIsBetter: Bool { self == .loss }
}

/// One stage of a run: what learns, how long, and how fast.
public struct Stage: Sendable, Equatable {
    /// How long a stage runs.
    public enum Length: Sendable, Equatable {
        /// Passes over the training data.
        case epochs(Int)
        /// Optimizer steps.
        case steps(Int)
    }

    /// The name, for reports.
    public var name: String
    /// What begins to learn in this stage, on top of what earlier stages thawed: one or more selectors.
    public var thaw: [String]
    /// How long the stage runs.
    public var length: Length
    /// The learning rate of the last layer.
    public var rate: Double
    /// What the rate is multiplied by from each layer to the one before it; 1 for the same rate everywhere.
    public var decay: Double
    /// How the rate changes from step to step.
    public var schedule: ScheduleSettings
    /// When the stage ends early; nil for never.
    public var stop: StopSettings?

    /// A stage.
    public init(
        name: String, thaw: [String], length: Length, rate: Double, decay: Double = 1,
        schedule: ScheduleSettings = ScheduleSettings(), stop: StopSettings? = nil
    ) {
        self.name = name
        self.thaw = thaw
        self.length = length
        self.rate = rate
        self.decay = decay
        self.schedule = schedule
        self.stop = stop
    }
}

/// How the learning rate changes from step to step.
public struct ScheduleSettings: Sendable, Equatable {
    /// How long the rate rises from almost nothing at the start.
    public enum Warmup: Sendable, Equatable {
        /// Not at all.
        case none
        /// For a part of the stage's steps.
        case fraction(Double)
        /// For a number of steps.
        case steps(Int)
    }

    /// The schedule and its settings.
    public var choice: NamedChoice
    /// How long the rate rises at the start.
    public var warmup: Warmup

    /// A schedule.
    public init(_ choice: NamedChoice = NamedChoice("constant"), warmup: Warmup = .none) {
        self.choice = choice
        self.warmup = warmup
    }
}

/// When a stage ends early.
public struct StopSettings: Sendable, Equatable {
    /// The number of validations without improvement after which the stage ends.
    public var patience: Int
    /// By how much the figure must be better to count as an improvement.
    public var delta: Double

    /// When a stage ends early.
    public init(patience: Int, delta: Double = 0) {
        self.patience = patience
        self.delta = delta
    }
}
