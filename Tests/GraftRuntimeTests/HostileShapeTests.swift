import GraftCore
import GraftIR
import GraftRuntime
import Testing

/// Numbers that a file may hold and no arithmetic on lengths survives unchecked.
@Suite struct HostileShapeTests {
    private static let image = Tensor([Float](repeating: 1, count: 16), shape: [1, 1, 4, 4])
    private static func empty(_ shape: [Int]) -> Tensor { Tensor([Float](), shape: shape) }
    private static func int64(_ values: Int64...) -> Tensor { Tensor(values) }

    private static func cropped(_ end: Float) -> HostileNode {
        HostileNode(
            type: "Resize",
            inputs: [image, Tensor([Float]([0, 0, 0, 0, 1, 1, 1, end])), Tensor([Float]([1, 1, 1, 1]))],
            attributes: ["coordinate_transformation_mode": .string("tf_crop_and_resize")], message: "a length of")
    }

    static let hostile = [
        cropped(.infinity), cropped(.nan), cropped(1e30),
        HostileNode(
            type: "Resize", inputs: [empty([0, 1 << 40]), nil, nil, int64(1 << 31, 1 << 31)],
            attributes: ["keep_aspect_ratio_policy": .string("not_smaller")], message: "a length of"),
        HostileNode(type: "Pad", inputs: [image, int64(0, 0, .min, 0, 0, 0, 0, 0)], message: "do not fit"),
        HostileNode(
            type: "MaxPool", inputs: [image],
            attributes: ["kernel_shape": .ints([2, 2]), "pads": .ints([.min, 0, 0, 0])], message: "too large"),
        HostileNode(
            type: "Split", inputs: [image, int64(.max, .max, 6)], attributes: ["axis": .int(2)], outputs: 3,
            message: "do not make up"),
        HostileNode(
            type: "DepthToSpace", inputs: [image], attributes: ["blocksize": .int(1 << 32)], message: "does not fit"),
        HostileNode(
            type: "SpaceToDepth", inputs: [empty([1, 1 << 30, 0, 0])], attributes: ["blocksize": .int(1 << 19)],
            message: "does not fit"),
        HostileNode(type: "Tile", inputs: [empty([0, 1 << 40]), int64(1, 1 << 40)], message: "too many"),
        HostileNode(
            type: "Concat", inputs: [empty([0, 1 << 62]), empty([0, 1 << 62])], attributes: ["axis": .int(1)],
            message: "too long"),
    ]

    @Test(arguments: hostile) func lengthsThatOverflowAreRefused(_ node: HostileNode) throws {
        try node.expectRefusal(opset: 18)
    }

    @Test(arguments: ["MatMul", "Gather", "Squeeze", "Conv", "Add", "Softmax", "Reshape"])
    func nodesWithoutTheirInputsAreRefused(_ type: String) throws {
        let error = #expect(throws: InferenceError.self) { _ = try run(type, [], opset: 18) }
        #expect("\(try #require(error))".contains("inputs, not 0"))
    }

    @Test func aSumOfSquaresThatWrapsHasSomeRoot() throws {
        let found = try run("ReduceL2", [Tensor([Int32(50000), 0])], ["keepdims": .int(0)], opset: 18)
        #expect(found[0].shape == [])
    }

    @Test func theMeanOfMoreNumbersThanTheTypeCountsIsRight() throws {
        let numbers = Tensor([Int8](repeating: -1, count: 100) + [Int8](repeating: 0, count: 155))
        let found = try run("ReduceMean", [numbers], ["keepdims": .int(0)], opset: 18)
        #expect(try found[0].elements(as: Int8.self) == [0])
        // The sum wraps to the least number, which divided by -1 would be none.
        let wrapping = Tensor([Int8](repeating: 1, count: 128) + [Int8](repeating: 0, count: 127))
        #expect(try run("ReduceMean", [wrapping], opset: 18)[0].shape == [1])
    }
}
