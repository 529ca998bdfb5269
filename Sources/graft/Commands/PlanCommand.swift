import ArgumentParser
import GraftCore
import GraftTraining

/// `graft plan`: what a recipe would do.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what a recipe would do to a model, without doing it.",
        discussion: """
            Prints the stages with what they thaw, rates and lengths; --yaml prints the complete recipe for editing.

              graft plan flowers.onnx --recipe gradual --data photos/
              graft plan flowers.onnx --recipe gradual --yaml > mine.yaml
              graft tune flowers.onnx --recipe mine.yaml --data photos/ -o tuned.onnx
            """)

    @OptionGroup var options: TuningOptions

    @Flag(name: .long, help: "Print the complete recipe as YAML.")
    var yaml = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        common.apply()
        let setup = try TuningSetup(options, limits: try common.limits(), needsData: false)
        let plan = try setup.plan()
        if yaml {
            Console.output(setup.recipe.completed().yaml())
        } else if common.json {
            Console.output(plan.json().text(.indented))
        } else {
            Console.output(plan.table())
            for remark in plan.remarks + setup.remarks { Console.note(remark) }
            if setup.training == nil { Console.note("name the data with --data to see the number of steps") }
        }
    }
}
