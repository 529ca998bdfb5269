extension Recipe {
    /// The recipe as YAML with every setting spelled out and explained, in a fixed order.
    ///
    /// Reading it back gives ``completed()``.
    public func yaml() -> String {
        var lines: [String] = []
        func line(_ text: String, _ remark: String = "") {
            lines.append(remark.isEmpty ? text : text.padded(to: 40) + "# " + remark)
        }
        line("data:")
        line("  train: \(data.train.map(YAMLText.text) ?? "null")", "an image folder, a CSV or an NPZ")
        switch data.validation {
        case .fraction(let part):
            line("  validation: \(YAMLText.number(part))", "the part of each class that is held back, or a path")
        case .path(let path): line("  validation: \(YAMLText.text(path))", "data of its own, or a fraction")
        }
        line("  shuffle: \(data.shuffle)", "every epoch has its own order")
        line("  augment: \(YAMLText.list(data.augment.map(\.yaml)))", "how training samples are varied")
        line("batch: \(batch)", "samples in a batch")
        line("accumulate: \(accumulate)", "batches averaged for one step")
        line("seed: \(seed)", "the same seed gives the same weights, bit for bit")
        line("loss:")
        choice(loss.choice, Losses.named(loss.choice.name)?.options ?? [], line)
        switch loss.classWeights {
        case .equal: line("  class_weights: equal", "equal, balanced, or a number a class")
        case .balanced: line("  class_weights: balanced", "equal, balanced, or a number a class")
        case .given(let weights): line("  class_weights: \(YAMLText.list(weights.map(YAMLText.number)))")
        }
        line("optimizer:")
        choice(optimizer.choice, Optimizers.named(optimizer.choice.name)?.options ?? [], line)
        line("  exempt: \(optimizer.exempt)", "no weight decay for biases and normalisation")
        line("batch_norm:")
        line("  mode: \(batchNorm.mode.rawValue)", "frozen: running statistics, not updated; or train")
        line("  affine: \(batchNorm.affine)", "scale and bias learn in thawed layers")
        line("  unbiased: \(batchNorm.unbiased)", "running variance as PyTorch's rather than ONNX's")
        line("clip: \(clip.map(YAMLText.number) ?? "none")", "bound on the norm of all gradients")
        line("features:")
        line("  cache: \(features.cache)", "the frozen part is run once and its features kept")
        line("  views: \(features.views)", "augmented versions of each sample that are kept")
        line("checkpoints:")
        line("  seconds: \(YAMLText.number(checkpoints.seconds))", "least time between two checkpoints")
        line("  keep: \(checkpoints.keep)", "how many are kept")
        line("monitor: \(monitor.rawValue)", "what decides the best epoch: loss, accuracy, f1, iou or map")
        line("stages:")
        for stage in stages {
            line("  - name: \(YAMLText.text(stage.name))")
            line("    thaw: \(YAMLText.list(stage.thaw.map(YAMLText.text)))", "learns from here on, with all before")
            switch stage.length {
            case .epochs(let count): line("    epochs: \(count)")
            case .steps(let count): line("    steps: \(count)")
            }
            line("    rate: \(YAMLText.number(stage.rate))", "learning rate of the last layer")
            line("    decay: \(YAMLText.number(stage.decay))", "factor from each layer to the one before")
            line("    schedule: \(stage.schedule.yaml)")
            line("    stop: \(stage.stop?.yaml ?? "none")")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The recipe with every setting of its loss, optimizer and schedules spelled out.
    public func completed() -> Recipe {
        var result = self
        result.loss.choice = loss.choice.complete(Losses.named(loss.choice.name)?.options ?? [])
        result.optimizer.choice = optimizer.choice.complete(Optimizers.named(optimizer.choice.name)?.options ?? [])
        for index in stages.indices {
            let choice = stages[index].schedule.choice
            result.stages[index].schedule.choice = choice.complete(Schedules.named(choice.name)?.options ?? [])
        }
        return result
    }

    private func choice(_ choice: NamedChoice, _ options: [NamedOption], _ line: (String, String) -> Void) {
        line("  name: \(choice.name)", "")
        for option in options { line("  \(option.name): \(option.spelled(choice.value(option)))", option.remark) }
    }
}

extension AugmentationSetting {
    var yaml: String {
        guard !values.isEmpty else { return YAMLText.text(name) }
        let settings = values.sorted { $0.key < $1.key }.map { key, numbers in
            let texts = numbers.map(YAMLText.number)
            return "\(key): \(texts.count == 1 ? texts[0] : YAMLText.list(texts))"
        }
        return "{name: \(YAMLText.text(name)), \(settings.joined(separator: ", "))}"
    }
}

extension ScheduleSettings {
    var yaml: String {
        let type = Schedules.named(choice.name)
        var parts = ["name: \(choice.name)"]
        if type?.ownsWarmup != true {
            switch warmup {
            case .none: parts.append("warmup: 0")
            case .fraction(let part): parts.append("warmup: \(YAMLText.number(part))")
            case .steps(let count): parts.append("warmup: \(count)")
            }
        }
        for option in type?.options ?? [] { parts.append("\(option.name): \(option.spelled(choice.value(option)))") }
        return "{\(parts.joined(separator: ", "))}"
    }
}

extension StopSettings {
    var yaml: String { "{patience: \(patience), delta: \(YAMLText.number(delta))}" }
}

extension String {
    /// The text with spaces up to a width, at least one.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(width - count, 1)) }
}
