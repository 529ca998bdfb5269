// Written by fixtures/element_types.py from onnx 1.23.2.

/// Which element types ONNX's operators take and make, by version.
enum OperatorElementTypes {
    /// The element types of inputs and outputs as bits by their codes; 0 where anything may stand.
    ///
    /// The last entry holds for all further inputs or outputs.
    static func allowed(_ type: String, at version: Int) -> (inputs: [UInt64], outputs: [UInt64]) {
        guard let rows = table[type], let row = rows.last(where: { $0.version <= version }) else { return ([], []) }
        return (row.inputs.map { sets[$0] }, row.outputs.map { sets[$0] })
    }

    private struct Row {
        let version: Int
        let inputs: [Int]
        let outputs: [Int]

        init?(_ text: Substring) {
            let halves = text.split(separator: ":")
            guard halves.count == 2, let version = Int(halves[0]) else { return nil }
            let sides = halves[1].split(separator: ">", omittingEmptySubsequences: false)
            guard sides.count == 2 else { return nil }
            self.version = version
            inputs = sides[0].split(separator: ",").compactMap { Int($0) }
            outputs = sides[1].split(separator: ",").compactMap { Int($0) }
        }
    }

    private static let table: [String: [Row]] = {
        var result: [String: [Row]] = [:]
        var name = ""
        for word in text.split(whereSeparator: \.isWhitespace) {
            if let row = Row(word) { result[name, default: []].append(row) } else { name = String(word) }
        }
        return result
    }()

    /// The sets that the table names by their position.
    private static let sets: [UInt64] = [
        0xC02, 0x3CFE, 0x13CFE, 0x10C02, 0x3CC2, 0x13CC2, 0x80, 0x200, 0x13EFE, 0x7FFFEFE, 0x3014, 0x30FC, 0xC0,
        0x3EFE, 0x3FFE, 0x13FFE, 0x1F3FFE, 0x7F3FFE, 0xFF3FFE, 0x1FF3FFE, 0x7FF3FFE, 0x1FFF3FFE, 0x10402, 0x2,
        0x1FFFE, 0xFFFE, 0x0, 0x1FFFFE, 0x7FFFFE, 0xFFFFFE, 0x1FFFFFE, 0x7FFFFFE, 0x1F3EFE, 0x7F3EFE, 0xFF3EFE,
        0x1FF3EFE, 0x7FF3EFE, 0xC, 0x40, 0x38C2, 0x4C, 0x1E004C, 0x7E007C, 0xFE007C, 0x1010402, 0x6FE007C,
        0x1EFE007C, 0x1F0C02, 0x4, 0x2C0, 0x802, 0x10002, 0xC0E, 0x10C0E, 0xCEA, 0x10CEA, 0x1FFFFFFE, 0xCC2,
        0x10CC2, 0x1E000C, 0x42, 0x10442, 0x7E003C, 0xFE003C, 0x1010442, 0x6FE003C, 0x1EFE003C, 0x8E2, 0x10CE2,
        0x3CCE, 0x13CCE, 0x13ECE, 0x100, 0x1C0, 0xEC2,
    ]

    /// An operator, then for each version that changed types: the sets of its inputs, and those of its outputs.
    private static let text = """
        Abs 1:0>0 6:1>1 13:2>2
        Acos 7:0>0 22:3>3
        Acosh 9:0>0 22:3>3
        Add 1:0,0>0 6:4,4>4 13:5,5>5 14:2,2>2
        ArgMax 1:1>6 13:2>6
        ArgMin 1:1>6 13:2>6
        Asin 7:0>0 22:3>3
        Asinh 9:0>0 22:3>3
        Atan 7:0>0 22:3>3
        Atanh 9:0>0 22:3>3
        Attention 23:3,3,3,8,3,3>3,3,3,3 24:3,3,3,8,3,3,6>3,3,3,3
        AveragePool 1:0>0 22:3>3
        BatchNormalization 1:0,0,0,0,0>0,0,0,0,0 14:3,3,3,3,3>3,3,3
        Bernoulli 15:0>8 22:3>8
        BitShift 11:10,10>10 28:11,11>11
        Cast 1:13>13 9:14>14 13:15>15 19:16>16 21:17>17 23:18>18 24:19>19 25:20>20 28:21>21
        CastLike 15:15,15>15 19:16,16>16 21:17,17>17 23:18,18>18 24:19,19>19 25:20,20>20
        Ceil 1:0>0 13:3>3
        Celu 12:23>23 28:3>3
        Clip 1:0>0 11:0,0,0>0 12:1,1,1>1 13:2,2,2>2
        Compress 9:25,7>25 28:24,7>24
        Concat 1:0>0 4:25>25 13:24>24
        Constant 1:>0 9:>25 13:>24 19:>27 21:>28 23:>29 24:>30 25:>31
        ConstantOfShape 9:6>13 20:6>32 21:6>33 23:6>34 24:6>35 25:6>36
        Conv 1:0,0,0>0 22:3,3,3>3
        ConvTranspose 1:0,0,0>0 22:3,3,3>3
        Cos 7:0>0 22:3>3
        Cosh 9:0>0 22:3>3
        CumSum 11:39,12>39 14:5,12>5
        DFT 17:3,12>3 20:3,12,6>3
        DeformConv 19:0,0,0,0,0>0 22:3,3,3,3,3>3
        DepthToSpace 1:25>25 13:24>24
        DequantizeLinear 10:40,23,40>23 19:41,22,41>22 21:42,22,42>22 23:43,22,43>22 24:43,44,43>22 25:45,44,45>22
          28:46,44,46>22
        Det 11:0>0 22:3>3
        Div 1:0,0>0 6:4,4>4 13:5,5>5 14:2,2>2
        Dropout 1:0>0,0 10:0>0,7 12:0,0,7>0,7 13:3,0,7>3,7 22:47,47,7>47,7
        Einsum 12:1>1 28:2>2
        Elu 1:0>0 22:3>3
        Equal 1:49,49>7 11:13,13>7 13:8,8>7 19:15,15>7
        Erf 9:1>1 13:3>3
        Exp 1:0>0 13:3>3
        Expand 8:25,6>25 13:24,6>24
        EyeLike 9:13>13 22:8>8
        Flatten 1:0>0 9:25>25 13:24>24 21:28>28 23:29>29 24:30>30 25:31>31
        Floor 1:0>0 13:3>3
        GRU 1:0,0,0,0,38,0>0,0 22:3,3,3,3,38,3>3,3
        Gather 1:25,12>25 13:24,12>24
        GatherElements 11:25,12>25 13:24,12>24
        GatherND 11:25,6>25 13:24,6>24
        Gemm 1:0,0,0>0 9:4,4,4>4 13:5,5,5>5
        GlobalAveragePool 1:0>0 22:3>3
        GlobalLpPool 1:0>0 22:3>3
        GlobalMaxPool 1:0>0 22:3>3
        Greater 1:0,0>7 9:1,1>7 13:2,2>7
        GreaterOrEqual 12:1,1>7 16:2,2>7
        GridSample 16:25,0>25 22:24,3>24
        HardSigmoid 1:0>0 22:3>3
        HardSwish 14:0>0 22:3>3
        Hardmax 1:0>0 13:3>3
        Identity 1:25>25 13:24>24 19:27>27 21:28>28 23:29>29 24:30>30 25:31>31
        If 1:7>25 16:7>24 19:7>27 21:7>28 23:7>29 24:7>30 25:7>31
        InstanceNormalization 1:0,0,0>0 22:3,3,3>3
        IsInf 10:50>7 20:47>7
        IsNaN 9:0>7 13:3>7 20:47>7
        LRN 1:0>0 13:3>3
        LSTM 1:0,0,0,0,38,0,0,0>0,0,0 22:3,3,3,3,38,3,3,3>3,3,3
        LeakyRelu 1:0>0 16:3>3
        Less 1:0,0>7 9:1,1>7 13:2,2>7
        LessOrEqual 12:1,1>7 16:2,2>7
        Log 1:0>0 13:3>3
        LogSoftmax 1:0>0 13:3>3
        Loop 1:6,7,25>25 16:6,7,24>24 19:6,7,27>27 21:6,7,28>28 23:6,7,29>29 24:6,7,30>30 25:6,7,31>31
        LpNormalization 1:0>0 22:3>3
        LpPool 1:0>0 22:3>3
        MatMul 1:0,0>0 9:4,4>4 13:5,5>5
        Max 1:0>0 12:1>1 13:2>2
        MaxPool 1:0>0 8:0>0,6 12:52>52,6 22:53>53,6
        MaxRoiPool 1:0,0>0 22:3,3>3
        MaxUnpool 9:0,6,6>0 22:3,6,6>3
        Mean 1:0>0 13:3>3
        MeanVarianceNormalization 9:0>0 13:3>3
        Min 1:0>0 12:1>1 13:2>2
        Mish 18:0>0 22:3>3
        Mod 10:1,1>1 13:2,2>2
        Mul 1:0,0>0 6:4,4>4 13:5,5>5 14:2,2>2
        Multinomial 7:0>12 22:3>12
        Neg 1:0>0 6:54>54 13:55>55
        NegativeLogLikelihoodLoss 12:0,12,0>0 22:3,12,3>3
        NonZero 9:25>6 13:24>6
        OneHot 9:1,1,25>25 28:1,1,24>24
        Optional 15:25>26 28:56>26
        OptionalGetElement 15:26>25 18:25>25 28:56>56
        OptionalHasElement 15:26>7 18:25>7 28:56>7
        PRelu 1:0,0>0 9:4,4>4 16:5,5>5
        Pad 1:0>0 11:1,6,1>1 13:24,6,24>24 18:24,6,24,12>24 21:28,6,28,12>28 23:29,6,29,12>29 24:30,6,30,12>30
          25:31,6,31,12>31
        Pow 1:0,0>0 12:57,1>57 13:58,1>58 15:58,2>58
        QLinearMatMul 10:37,23,37,37,23,37,23,37>37 21:59,22,59,59,22,59,22,59>59
        QuantizeLinear 10:60,23,37>37 19:61,61,59>59 21:61,61,62>62 23:61,61,63>63 24:61,64,63>63 25:61,64,65>65
          28:61,64,66>66
        RNN 1:0,0,0,0,38,0>0,0 22:3,3,3,3,38,3>3,3
        RandomNormal 1:>0 22:>3
        RandomNormalLike 1:25>0 22:24>3
        RandomUniform 1:>0 22:>3
        RandomUniformLike 1:25>0 22:24>3
        Range 11:67,67,67>67 27:68,68,68>68
        Reciprocal 1:0>0 13:3>3
        ReduceL1 1:4>4 13:5>5 18:5,6>5
        ReduceL2 1:4>4 13:5>5 18:5,6>5
        ReduceLogSum 1:4>4 13:5>5 18:5,6>5 28:3,6>3
        ReduceLogSumExp 1:4>4 13:5>5 18:5,6>5 28:3,6>3
        ReduceMax 1:4>4 12:69>69 13:70>70 18:70,6>70 20:71,6>71
        ReduceMean 1:4>4 13:5>5 18:5,6>5
        ReduceMin 1:4>4 12:69>69 13:70>70 18:70,6>70 20:71,6>71
        ReduceProd 1:4>4 13:5>5 18:5,6>5
        ReduceSum 1:4>4 13:5,6>5
        ReduceSumSquare 1:4>4 13:5>5 18:5,6>5
        Relu 1:0>0 13:3>3 14:55>55
        Reshape 1:0>0 5:25,6>25 13:24,6>24 19:27,6>27 21:28,6>28 23:29,6>29 24:30,6>30 25:31,6>31
        Resize 10:25,23>25 11:25,0,23,6>25 13:24,0,23,6>24
        ReverseSequence 10:25,6>25 28:24,6>24
        RoiAlign 10:0,0,6>0 22:3,3,6>3
        Round 11:0>0 22:3>3
        Scan 8:6,25>25 9:25>25 16:24>24 19:27>27 21:28>28 23:29>29 24:30>30 25:31>31
        ScatterElements 11:25,12,25>25 13:24,12,24>24
        ScatterND 11:25,6,25>25 13:24,6,24>24
        Selu 1:0>0 22:3>3
        Shape 1:25>6 13:24>6 19:27>6 21:28>6 23:29>6 24:30>6 25:31>6
        Sigmoid 1:0>0 13:3>3
        Sign 9:1>1 13:2>2
        Sin 7:0>0 22:3>3
        Sinh 9:0>0 22:3>3
        Size 1:25>6 13:24>6 19:27>6 21:28>6 23:29>6 24:30>6 25:31>6
        Slice 1:25>25 10:25,12,12,12,12>25 13:24,12,12,12,12>24
        Softmax 1:0>0 13:3>3
        SoftmaxCrossEntropyLoss 12:0,12,0>0,0 13:3,12,3>3,3
        Softplus 1:0>0 22:3>3
        Softsign 1:0>0 22:3>3
        SpaceToDepth 1:25>25 13:24>24
        Split 1:0,0>0 2:25>25 13:24,6>24
        SplitToSequence 11:25,12>26 24:24,12>26
        Sqrt 1:0>0 13:3>3
        Squeeze 1:25>25 13:24,6>24 21:28,6>28 23:29,6>29 24:30,6>30 25:31,6>31
        Sub 1:0,0>0 6:4,4>4 13:5,5>5 14:2,2>2
        Sum 1:0>0 13:3>3
        Tan 7:0>0 22:3>3
        Tanh 1:0>0 13:3>3
        ThresholdedRelu 10:0>0 22:3>3
        Tile 1:0,0,0>0 6:25,6>25 13:24,6>24
        TopK 1:0>0,6 10:0,6>0,6 11:1,6>1,6 24:2,6>2,6
        Transpose 1:25>25 13:24>24 21:28>28 23:29>29 24:30>30 25:31>31
        Unique 11:25>25,6,6,6 28:24>24,6,6,6
        Unsqueeze 1:25>25 13:24,6>24 21:28,6>28 23:29,6>29 24:30,6>30 25:31,6>31
        Upsample 1:74>74 7:25>25 9:25,23>25
        Where 9:7,25,25>25 16:7,24,24>24
        """
}
