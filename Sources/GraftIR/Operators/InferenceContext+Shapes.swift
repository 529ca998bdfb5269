import GraftCore

/// What rules of many families need.
extension InferenceContext {
    /// The shape of an input as text, for messages.
    public func shapeText(_ input: Int) -> String { shape(input)?.description ?? "of unknown rank" }

    /// An axis counted from the front.
    ///
    /// - Throws: ``InferenceError`` where the axis is outside `-rank..<rank`.
    public func normalized(axis: Int, rank: Int) throws(InferenceError) -> Int {
        guard axis >= -rank, axis < rank else {
            throw failure("the axis \(axis) is outside a tensor of rank \(rank)")
        }
        return axis < 0 ? axis + rank : axis
    }

    /// Axes counted from the front, each once.
    public func normalized(axes: [Int], rank: Int) throws(InferenceError) -> [Int] {
        var result: [Int] = []
        for axis in axes {
            let axis = try normalized(axis: axis, rank: rank)
            if result.contains(axis) { throw failure("the axis \(axis) is given twice") }
            result.append(axis)
        }
        return result
    }

    /// The whole numbers of an input of at most one dimension, as far as known; unknown ones where only the length is
    /// known.
    public func extents(_ input: Int) -> [Extent]? {
        if let known = content(input)?.extents { return known }
        guard let shape = shape(input), shape.rank == 1, let count = shape[0].count, count <= KnownContent.countLimit
        else { return nil }
        return Array(repeating: .unknown, count: count)
    }

    /// The whole numbers of an input, where all are known.
    public func integers(_ input: Int) -> [Int]? { content(input)?.integers }

    /// Gives an output the type of an input.
    public mutating func setLike(_ input: Int, of output: Int = 0, elementType: ElementType? = nil) {
        setTensor(elementType ?? self.elementType(input), shape(input)?.plain, of: output)
    }

    /// The shape that the inputs broadcast to; nil where one is not known.
    ///
    /// - Throws: ``InferenceError`` with both shapes where they do not fit.
    public func broadcast(_ inputs: some Sequence<Int>) throws(InferenceError) -> SymbolicShape? {
        var result: SymbolicShape?
        for input in inputs {
            guard let shape = shape(input)?.plain else { return nil }
            guard let so = result else {
                result = shape
                continue
            }
            guard let next = so.broadcast(with: shape) else {
                throw failure("the shapes \(so) and \(shape) do not broadcast")
            }
            result = next
        }
        return result
    }

    /// The first known element type of the inputs.
    public func commonElementType(_ inputs: some Sequence<Int>) -> ElementType? {
        for input in inputs { if let type = elementType(input) { return type } }
        return nil
    }

    /// Checks that an input has the given rank, where its rank is known.
    public func require(rank: Int, of input: Int, named name: String) throws(InferenceError) {
        if let shape = shape(input), shape.rank != rank {
            throw failure("\(name) must have rank \(rank), but its shape is \(shape)")
        }
    }

    /// What two statements about an extent say together.
    ///
    /// - Throws: ``InferenceError`` where they contradict.
    public func unify(_ a: Extent, _ b: Extent, _ what: @autoclosure () -> String) throws(InferenceError) -> Extent {
        guard let extent = a.unified(with: b) else { throw failure("\(what()): \(a.text) and \(b.text) differ") }
        return extent
    }

    /// Sets the content of an output to whole numbers, where at least one is known.
    public mutating func setExtents(_ extents: [Extent], isScalar: Bool, of output: Int = 0) {
        guard extents.count <= KnownContent.countLimit else { return }
        setContent(.extents(extents, isScalar: isScalar), of: output)
    }

    /// Passes the content of an input on, element by element.
    public mutating func mapExtents(_ input: Int = 0, _ transform: (Extent) -> Extent) {
        guard let content = content(input), let extents = content.extents else { return }
        setExtents(extents.map(transform), isScalar: content.isScalar)
    }

    /// Combines the contents of two inputs of at most one dimension element by element, with broadcasting.
    public mutating func zipExtents(_ combine: (Extent, Extent) -> Extent) {
        guard let a = content(0), let b = content(1), let x = a.extents, let y = b.extents else { return }
        let count = max(x.count, y.count)
        guard x.count == count || x.count == 1, y.count == count || y.count == 1, !x.isEmpty, !y.isEmpty else { return }
        setExtents(
            (0..<count).map { combine(x[x.count == 1 ? 0 : $0], y[y.count == 1 ? 0 : $0]) },
            isScalar: a.isScalar && b.isScalar)
    }
}

/// Rules of inference that many operators share.
enum CommonInference {
    /// The output is like the first input.
    static let likeFirst: OperatorSchema.InferenceRule = { $0.setLike(0) }

    /// The output is what all inputs broadcast to.
    static let broadcast: OperatorSchema.InferenceRule = { context in
        let all = 0..<context.node.inputs.count
        context.setTensor(context.commonElementType(all), try context.broadcast(all))
    }

    /// The output has the shape of the first input and a given element type.
    static func likeFirst(_ elementType: ElementType) -> OperatorSchema.InferenceRule {
        { $0.setLike(0, elementType: elementType) }
    }

    /// Output `i` is like the input `inputs[i]`.
    static func like(_ inputs: Int...) -> OperatorSchema.InferenceRule {
        { context in
            for (output, input) in inputs.enumerated() { context.setType(context.type(input), of: output) }
        }
    }
}
