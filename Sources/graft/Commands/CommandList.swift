import ArgumentParser

/// The commands, in the groups that help shows; a new command adds its line here.
enum CommandList {
    static var groups: [CommandGroup] {
        [
            CommandGroup(name: "Looking at models", subcommands: [InspectCommand.self, DiffCommand.self]),
            CommandGroup(
                name: "Changing models",
                subcommands: [
                    ConvertCommand.self, HeadCommand.self, FreezeCommand.self, GroupsCommand.self,
                    AnnotateCommand.self,
                ]),
            CommandGroup(
                name: "Rebuilding models",
                subcommands: [
                    ExtractCommand.self, MergeCommand.self, RenameCommand.self, FoldCommand.self, OpsetCommand.self,
                    DynamicBatchCommand.self,
                ]),
            CommandGroup(name: "Training", subcommands: [PlanCommand.self, TuneCommand.self]),
            CommandGroup(
                name: "Using models", subcommands: [EvalCommand.self, PredictCommand.self, RunCommand.self]),
        ]
    }
}
