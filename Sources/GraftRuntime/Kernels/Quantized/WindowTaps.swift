/// Finds the points of an input that lie under a window.
struct WindowTaps {
    /// The number of windows: points of the result in all images.
    let rows: Int
    /// The number of points of a window.
    let taps: Int
    private let window: WindowGeometry
    private let points: Int
    private let inputPoints: Int
    private let rank: Int

    init(_ shape: ConvolutionShape) {
        self.init(images: shape.source[0], shape.window)
    }

    init(images: Int, _ window: WindowGeometry) {
        self.window = window
        rank = window.input.count
        points = window.output.reduce(1, *)
        inputPoints = window.input.reduce(1, *)
        taps = window.kernel.reduce(1, *)
        rows = images * points
    }

    /// Calls `body` for runs of taps of a window whose points lie together: the first tap, the first point, -1 outside
    /// the input, and how many there are.
    ///
    /// - Parameter joinsTaps: whether neighbouring points may make one run.
    @inline(__always)
    func forEachRun(_ row: Int, joinsTaps: Bool, _ body: (_ tap: Int, _ point: Int, _ count: Int) -> Void) {
        guard joinsTaps, rank == 2, window.dilations[1] == 1 else {
            forEachTap(row) { tap, point in body(tap, point, 1) }
            return
        }
        let (height, width, across) = (window.input[0], window.input[1], window.kernel[1])
        let position = row % points
        let image = row / points * inputPoints
        let top = position / window.output[1] * window.strides[0] - window.begin[0]
        let left = position % window.output[1] * window.strides[1] - window.begin[1]
        let first = min(across, max(0, -left))
        let last = max(first, min(across, width - left))
        for row in 0..<window.kernel[0] {
            let (y, tap) = (top + row * window.dilations[0], row * across)
            guard y >= 0, y < height else {
                body(tap, -1, across)
                continue
            }
            if first > 0 { body(tap, -1, first) }
            if last > first { body(tap + first, image + y * width + left + first, last - first) }
            if last < across { body(tap + last, -1, across - last) }
        }
    }

    /// Calls `body` for each tap of a window with the number of the point under it in the whole input; -1 outside.
    @inline(__always)
    func forEachTap(_ row: Int, _ body: (_ tap: Int, _ point: Int) -> Void) {
        let image = row / points * inputPoints
        let position = row % points
        if rank == 2 {
            let (height, width) = (window.input[0], window.input[1])
            let top = position / window.output[1] * window.strides[0] - window.begin[0]
            let left = position % window.output[1] * window.strides[1] - window.begin[1]
            let (down, across) = (window.dilations[0], window.dilations[1])
            let (kernelDown, kernelAcross) = (window.kernel[0], window.kernel[1])
            for row in 0..<kernelDown {
                let y = top + row * down
                let isInside = y >= 0 && y < height
                for column in 0..<kernelAcross {
                    let x = left + column * across
                    body(
                        row * kernelAcross + column,
                        isInside && x >= 0 && x < width ? image + y * width + x : -1)
                }
            }
            return
        }
        for tap in 0..<taps {
            var (rest, restTap, step) = (position, tap, 1)
            var point = 0
            var isInside = true
            var axis = rank - 1
            while axis >= 0 {
                let at = rest % window.output[axis] * window.strides[axis] - window.begin[axis]
                let place = at + restTap % window.kernel[axis] * window.dilations[axis]
                rest /= window.output[axis]
                restTap /= window.kernel[axis]
                if place < 0 || place >= window.input[axis] { isInside = false }
                point += place * step
                step *= window.input[axis]
                axis -= 1
            }
            body(tap, isInside ? image + point : -1)
        }
    }
}
