/// Arithmetic on numbers that come from files: every operation says when it would overflow.
public enum Checked {
    /// The product of the dimensions of a shape, or nil where one is negative or the product overflows.
    @inlinable public static func product(_ dimensions: some Sequence<Int>) -> Int? {
        var result = 1
        var overflows = false
        var hasZero = false
        for dimension in dimensions {
            guard dimension >= 0 else { return nil }
            if dimension == 0 { hasZero = true }
            let (next, overflow) = result.multipliedReportingOverflow(by: max(dimension, 1))
            overflows = overflows || overflow
            if !overflow { result = next }
        }
        return hasZero ? 0 : overflows ? nil : result
    }

    /// Whether the product of any of a shape's dimensions is a number: an axis of length 0 may hide lengths whose
    /// product is none.
    @inlinable public static func isPossible(_ shape: [Int]) -> Bool {
        shape.allSatisfy { $0 >= 0 } && product(shape.lazy.map { max($0, 1) }) != nil
    }

    /// The sum, or nil on overflow.
    @inlinable public static func sum(_ a: Int, _ b: Int) -> Int? {
        let (result, overflow) = a.addingReportingOverflow(b)
        return overflow ? nil : result
    }

    /// The range of `count` bytes from `offset`, or nil unless it lies within `0..<bound`.
    @inlinable public static func range(offset: Int, count: Int, within bound: Int) -> Range<Int>? {
        guard offset >= 0, count >= 0, offset <= bound, count <= bound - offset else { return nil }
        return offset..<(offset + count)
    }
}
