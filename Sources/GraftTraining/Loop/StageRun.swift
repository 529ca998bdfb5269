import GraftCore
import GraftIR
import GraftRuntime
import OrderedCollections

/// One stage of a run: the loop over epochs and steps.
final class StageRun {
    private let run: Run
    private let log: MetricsLog
    private let plan: TrainingPlan.StagePlan
    private let recipe: Recipe
    private let program: StageProgram
    private let clock: StageClock
    private let samples: FeatureSource
    private let validation: FeatureSource?
    private let steps: Int
    private let stepsPerEpoch: Int
    private let firstStep: Int
    private var watch: EarlyStopping

    init(_ run: Run, log: MetricsLog) throws {
        self.run = run
        self.log = log
        recipe = run.recipe
        plan = run.plan.stages[run.state.stage]
        program = try StageProgram(
            run.settings.model, output: run.output, stage: plan, recipe: recipe, cohorts: run.cohorts,
            classWeights: run.classWeights, targets: run.settings.training.targetKind, store: run.store)
        stepsPerEpoch = run.plan.stepsPerEpoch ?? 1
        steps = plan.steps ?? stepsPerEpoch
        clock = try StageClock(plan.stage.schedule, steps: steps, stepsPerEpoch: stepsPerEpoch)
        firstStep = run.state.step - run.state.stepInStage + 1
        let folder = "\(run.settings.folder)/features"
        let varies = !recipe.data.augment.isEmpty && run.settings.training.canVary
        samples = try FeatureSource(
            program, run.settings.training, folder: folder, keeps: recipe.features.cache,
            views: varies ? recipe.features.views : 1, seed: recipe.seed)
        if let data = run.settings.validation, data.count > 0 {
            validation = try FeatureSource(
                program, data, folder: folder, keeps: recipe.features.cache, views: 1, seed: recipe.seed)
        } else {
            validation = nil
        }
        watch = EarlyStopping(
            plan.stage.stop, lowerIsBetter: recipe.monitor.lowerIsBetter, best: run.state.bestFigure,
            waited: run.state.waited)
        if varies && samples.isKept && recipe.features.views <= 1 && run.state.stepInStage == 0 {
            remark(
                "stage \"\(plan.stage.name)\" learns from kept features of the samples as they are, without augmentation; "
                    + "set features.views to keep varied versions, or features.cache to false")
        }
        for name in program.unreached { remark("the loss does not depend on \(name); it stays as it is") }
    }

    /// Runs the stage to its end.
    ///
    /// - Returns: false where it was interrupted; the state is then that after the last step.
    func execute() throws -> Bool {
        run.events(
            .stage(
                index: run.state.stage, of: run.plan.stages.count, name: plan.stage.name,
                trainable: plan.trainableCount, steps: steps))
        guard try prepare() else { return false }
        if run.state.step == 0, run.before == nil { run.before = try evaluate() }
        var endedEarly = false
        // A run that stopped right after the last step of a pass has its validation still to come.
        while (run.state.stepInStage < steps || run.state.stepInEpoch > 0) && !endedEarly {
            guard try epoch() else { return false }
            endedEarly = try validate()
        }
        try end(early: endedEarly)
        return true
    }

    private func prepare() throws -> Bool {
        for source in [samples, validation] {
            let isReady = try source?.prepare(batch: recipe.batch) { done, total in
                run.events(.features(done: done, of: total))
                return run.isInterrupted()
            }
            if isReady == false { return false }
        }
        return true
    }

    /// The rest of the present pass over the data.
    ///
    /// - Returns: false where it was interrupted.
    private func epoch() throws -> Bool {
        let order = order(of: run.state.epoch)
        run.pace.pause()
        while run.state.stepInEpoch < stepsPerEpoch && run.state.stepInStage < steps {
            try step(order)
            if run.isInterrupted() { return false }
            if run.isCheckpointDue { try run.saveCheckpoint(log) }
        }
        return true
    }

    /// The order of the samples in a pass: a function of the seed, the stage and the pass.
    private func order(of epoch: Int) -> [Int] {
        let count = run.settings.training.count
        guard recipe.data.shuffle else { return Array(0..<count) }
        var random = CounterRandom(
            seed: recipe.seed, CounterRandom.word("order"), UInt64(run.state.stage), UInt64(epoch))
        return random.permutation(count)
    }

    private func step(_ order: [Int]) throws {
        let perStep = recipe.batch * recipe.accumulate
        let start = run.state.stepInEpoch * perStep
        let members = order[start..<min(start + perStep, order.count)]
        let factor = clock.factor(at: run.state.stepInStage)
        var rates = OrderedDictionary<String, Double>()
        for group in plan.groups { rates[group.name] = plan.stage.rate * factor * group.multiplier }
        for cohort in 0...run.state.stage { run.state.cohortSteps[cohort] += 1 }
        var loss = 0.0
        for first in stride(from: members.startIndex, to: members.endIndex, by: recipe.batch) {
            let part = Array(members[first..<min(first + recipe.batch, members.endIndex)])
            let share = Double(part.count) / Double(members.count)
            let now = StageProgram.Clock(
                rates: rates, cohortSteps: run.state.cohortSteps, seed: recipe.seed, draw: run.state.batches)
            let features = try samples.batch(part, epoch: versionOfSamples, varied: varies)
            let targets = try samples.targets(part, epoch: versionOfSamples, varied: varies)
            loss +=
                share
                * (try program.step(
                    features, targets: targets, clock: now, isFirst: first == members.startIndex, share: share))
            run.state.batches += 1
            if recipe.accumulate > 1, first + recipe.batch >= members.endIndex { try program.update(now) }
        }
        run.state.step += 1
        run.state.stepInStage += 1
        run.state.stepInEpoch += 1
        run.samplesUsed += members.count
        guard loss.isFinite else {
            throw TrainingError.diverged(stage: plan.stage.name, step: run.state.step)
        }
        let record = StepRecord(
            stage: plan.stage.name, epoch: run.state.epoch + 1, step: run.state.step, loss: loss, rates: rates)
        try log.write(record)
        tell(record, samples: members.count)
    }

    private var varies: Bool { !recipe.data.augment.isEmpty && run.settings.training.canVary }

    /// Which varied version of the samples a pass uses: every pass of every stage its own.
    private var versionOfSamples: Int { run.state.stage * 1_000_003 + run.state.epoch }

    private func tell(_ record: StepRecord, samples: Int) {
        run.pace.tick()
        let seconds = run.pace.secondsPerStep
        let later = run.plan.stages[(run.state.stage + 1)...].reduce(0) { $0 + ($1.steps ?? 0) }
        run.events(
            .step(
                StepProgress(
                    record: record, stepInStage: run.state.stepInStage, stepsInStage: steps,
                    samplesPerSecond: seconds > 0 ? Double(samples) / seconds : 0,
                    secondsLeft: seconds * Double(steps - run.state.stepInStage + later))))
    }

    /// Measures, notes what is best, and moves on to the next pass.
    ///
    /// - Returns: whether the stage ends here because nothing improves.
    private func validate() throws -> Bool {
        defer {
            run.state.epoch += 1
            run.state.stepInEpoch = 0
        }
        guard let evaluation = try evaluate() else { return false }
        let verdict = watch.observe(evaluation.figure(recipe.monitor))
        run.state.bestFigure = watch.best
        run.state.waited = watch.waited
        if verdict == .improved {
            run.state.best = RunState.Best(
                step: run.state.step, tensors: try run.snapshot(), cohortSteps: run.state.cohortSteps, isSaved: false)
        }
        let record = ValidationRecord(
            stage: plan.stage.name, epoch: run.state.epoch + 1, step: run.state.step,
            figures: evaluation.figures, isBest: verdict == .improved)
        try log.write(record)
        run.events(.validation(record))
        return verdict == .stop
    }

    /// The figures on the validation data; nil where there is none.
    private func evaluate() throws -> Evaluation? {
        guard let validation, let data = run.settings.validation else { return nil }
        var evaluation: Evaluation?
        for start in stride(from: 0, to: data.count, by: recipe.batch) {
            let positions = Array(start..<min(start + recipe.batch, data.count))
            guard let scores = try program.scores(try validation.batch(positions, epoch: 0, varied: false)) else {
                break
            }
            try Evaluation.add(
                scores, of: data, samples: positions, ignored: recipe.loss.ignored, to: &evaluation)
        }
        return evaluation
    }

    /// Goes back to the best state, and leaves everything ready for the next stage.
    private func end(early: Bool) throws {
        let last = run.state.step
        if let best = run.state.best {
            for (name, tensor) in best.tensors { try run.store.set(name, tensor) }
            run.state.cohortSteps = best.cohortSteps
        }
        let kept = run.state.best?.step ?? last
        run.state.results.append(
            RunReport.StageResult(
                name: plan.stage.name, trainable: plan.trainableCount, firstStep: firstStep, lastStep: last,
                keptStep: kept, endedEarly: early,
                featuresFrom: samples.isKept ? program.boundaryNames.joined(separator: ", ") : nil))
        run.state.stage += 1
        run.state.epoch = 0
        run.state.stepInEpoch = 0
        run.state.stepInStage = 0
        run.state.best = nil
        run.state.bestFigure = nil
        run.state.waited = 0
        run.events(.stageEnd(name: plan.stage.name, keptStep: kept, endedEarly: early))
        if run.state.stage < run.plan.stages.count { try run.saveCheckpoint(log) }
    }

    private func remark(_ text: String) {
        guard !run.remarks.contains(text) else { return }
        run.remarks.append(text)
        run.events(.remark(text))
    }
}
