import GraftCore
import OrderedCollections

/// Where a run stands: everything but tensors that the next step follows from.
struct RunState {
    /// The best state of the present stage.
    struct Best {
        /// The step after which it was reached, over the whole run.
        var step: Int
        /// The tensors.
        var tensors: OrderedDictionary<String, Tensor>
        /// The step of each cohort at that time.
        var cohortSteps: [Int]
        /// Whether it is on disk.
        var isSaved: Bool
    }

    /// The present stage, from 0.
    var stage = 0
    /// The pass over the data within the stage, from 0.
    var epoch = 0
    /// The optimizer steps that were taken in the pass.
    var stepInEpoch = 0
    /// The optimizer steps that were taken in the stage.
    var stepInStage = 0
    /// The optimizer steps that were taken in the run.
    var step = 0
    /// The batches that were used in the run.
    var batches = 0
    /// The steps that each cohort has taken.
    var cohortSteps: [Int]
    /// What early stopping has seen.
    var bestFigure: Double?
    /// The validations since the best.
    var waited = 0
    /// The best state of the present stage.
    var best: Best?
    /// The stages that are over.
    var results: [RunReport.StageResult] = []
    /// How far the metrics are written.
    var metrics: MetricsLog.Position?

    init(stages: Int) { cohortSteps = Array(repeating: 0, count: stages) }

    /// What a checkpoint keeps; `context` are facts that must be the same when it resumes.
    func json(context: JSON) -> JSON {
        var json: JSON = [
            "context": context, "stage": JSON(stage), "epoch": JSON(epoch), "step_in_epoch": JSON(stepInEpoch),
            "step_in_stage": JSON(stepInStage), "step": JSON(step), "batches": JSON(batches),
            "cohort_steps": JSON(cohortSteps), "best_figure": bestFigure.map { JSON($0) } ?? .null,
            "waited": JSON(waited),
            "results": JSON(
                results.map { result -> JSON in
                    [
                        "name": JSON(result.name), "trainable": JSON(result.trainable),
                        "first_step": JSON(result.firstStep), "last_step": JSON(result.lastStep),
                        "kept_step": JSON(result.keptStep), "ended_early": JSON(result.endedEarly),
                        "features_from": JSON(optional: result.featuresFrom),
                    ]
                }),
            "metrics": metrics.map { ["lines": JSON($0.lines), "table": JSON($0.table)] } ?? .null,
        ]
        if let best { json["best"] = ["step": JSON(best.step), "cohort_steps": JSON(best.cohortSteps)] }
        return json
    }

    /// The state that a checkpoint keeps; nil where its record is not whole.
    init?(_ json: JSON, best saved: Checkpoint?) {
        guard let stage = json["stage"]?.int, let epoch = json["epoch"]?.int,
            let stepInEpoch = json["step_in_epoch"]?.int, let stepInStage = json["step_in_stage"]?.int,
            let step = json["step"]?.int, let batches = json["batches"]?.int,
            let cohorts = json["cohort_steps"]?.array?.compactMap(\.int), let waited = json["waited"]?.int,
            let results = json["results"]?.array
        else { return nil }
        self.stage = stage
        self.epoch = epoch
        self.stepInEpoch = stepInEpoch
        self.stepInStage = stepInStage
        self.step = step
        self.batches = batches
        self.waited = waited
        cohortSteps = cohorts
        bestFigure = json["best_figure"]?.double
        for entry in results {
            guard let name = entry["name"]?.string, let trainable = entry["trainable"]?.int,
                let first = entry["first_step"]?.int, let last = entry["last_step"]?.int,
                let kept = entry["kept_step"]?.int, let early = entry["ended_early"]?.bool
            else { return nil }
            self.results.append(
                .init(
                    name: name, trainable: trainable, firstStep: first, lastStep: last, keptStep: kept,
                    endedEarly: early, featuresFrom: entry["features_from"]?.string))
        }
        if let lines = json["metrics"]?["lines"]?.int, let table = json["metrics"]?["table"]?.int {
            metrics = .init(lines: lines, table: table)
        }
        if let record = json["best"] {
            guard let saved, let at = record["step"]?.int, at == saved.step,
                let steps = record["cohort_steps"]?.array?.compactMap(\.int)
            else { return nil }
            best = Best(step: at, tensors: saved.tensors, cohortSteps: steps, isSaved: true)
        }
    }
}
