/// The elements of one axis that a sampled place reads, their weights, and how the weights change with the place.
struct AxisTaps<T: RealNumber> {
    /// Positions along the axis; -1 for an element that is outside and zero.
    var places: InlineArray<4, Int> = [-1, -1, -1, -1]
    var weights: InlineArray<4, T> = [1, 0, 0, 0]
    /// The derivatives of the weights by the normalised coordinate.
    var slopes: InlineArray<4, T> = [0, 0, 0, 0]
    let count: Int

    /// - Parameter normalised: the place, -1 to 1 from end to end.
    init(_ normalised: T, _ length: Int, _ sampler: GridSampler) {
        count = sampler.mode.taps
        let (low, high): (T, T) = sampler.isAligned ? (0, T(length - 1)) : (-0.5, T(length) - 0.5)
        var place = (normalised + 1) / 2 * T(sampler.isAligned ? length - 1 : length) - (sampler.isAligned ? 0 : 0.5)
        var slope = T(sampler.isAligned ? length - 1 : length) / 2
        if sampler.mode == .nearest { place = place.rounded(.toNearestOrEven) }
        if !(place >= low && place <= high) {
            switch sampler.padding {
            case .zeros: break
            // Cubic taps are held inside one by one, so the place only has to stay near.
            case .border where sampler.mode == .cubic: place = min(max(place, -3), T(length) + 2)
            case .border:
                place = min(max(place, 0), T(length - 1))
                slope = 0
            case .reflection: (place, slope) = Self.reflected(place, low, high, slope)
            }
        }
        // Not a number, or so far outside that no tap is inside.
        guard abs(place) <= T(length) + 4 else { return }
        let base = place.rounded(.down)
        let part = place - base
        var start = Int(base)
        switch sampler.mode {
        case .nearest: break
        case .linear:
            weights = [1 - part, part, 0, 0]
            slopes = [-slope, slope, 0, 0]
        case .cubic:
            weights = [Self.far(part + 1), Self.near(part), Self.near(1 - part), Self.far(2 - part)]
            slopes = [
                slope * Self.farSlope(part + 1), slope * Self.nearSlope(part), -slope * Self.nearSlope(1 - part),
                -slope * Self.farSlope(2 - part),
            ]
            start -= 1
        }
        for tap in 0..<count {
            let position = start + tap
            if position >= 0, position < length {
                places[tap] = position
                continue
            }
            switch sampler.padding {
            case .zeros: break
            case .border: places[tap] = min(max(position, 0), length - 1)
            case .reflection:
                places[tap] = min(max(Int(Self.reflected(T(position), low, high, 0).0), 0), length - 1)
            }
        }
    }

    /// A place folded back between two borders, and its slope, whose sign turns with each fold.
    private static func reflected(_ x: T, _ low: T, _ high: T, _ slope: T) -> (T, T) {
        let extent = high - low
        guard extent > 0 else { return (low, 0) }
        if x >= low, x <= high { return (x, slope) }
        let distance = (x < low ? low - x : x - high).truncatingRemainder(dividingBy: 2 * extent)
        let isTurned = distance <= extent
        let inside = isTurned ? distance : 2 * extent - distance
        return (x < low ? low + inside : high - inside, isTurned ? -slope : slope)
    }

    // Cubic convolution with -0.75, by the distance of an element: up to 1, and from 1 to 2.
    private static func near(_ d: T) -> T { (1.25 * d - 2.25) * d * d + 1 }
    private static func far(_ d: T) -> T { ((-0.75 * d + 3.75) * d - 6) * d + 3 }
    private static func nearSlope(_ d: T) -> T { (3.75 * d - 4.5) * d }
    private static func farSlope(_ d: T) -> T { (-2.25 * d + 7.5) * d - 6 }
}
