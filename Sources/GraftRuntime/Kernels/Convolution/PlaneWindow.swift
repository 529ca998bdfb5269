import CNumerics
import GraftCore

/// A window over row-major planes.
struct PlaneWindow {
    private let native: cplanes_window
    /// The numbers of scratch memory that a thread needs.
    private let span: Int

    /// Nil where the window reaches so far beyond the plane that scratch memory for its rows would be out of proportion,
    /// or where there is nothing to compute.
    init?(_ window: WindowGeometry) {
        guard window.input.count == 2, !window.input.contains(0), window.output.allSatisfy({ $0 > 0 }) else {
            return nil
        }
        for axis in 0..<2 {
            let extent = window.dilations[axis] * (window.kernel[axis] - 1) + 1
            let last = (window.output[axis] - 1) * window.strides[axis] + extent
            guard window.begin[axis] >= 0, window.begin[axis] < extent, last <= window.input[axis] + 4096 else {
                return nil
            }
        }
        native = cplanes_window(
            height: window.input[0], width: window.input[1], output_height: window.output[0],
            output_width: window.output[1], rows: window.kernel[0], columns: window.kernel[1],
            row_stride: window.strides[0], column_stride: window.strides[1], row_dilation: window.dilations[0],
            column_dilation: window.dilations[1], top: window.begin[0], left: window.begin[1])
        span = (window.output[1] - 1) * window.strides[1] + window.dilations[1] * (window.kernel[1] - 1) + 1
    }

    /// The greatest number of each window of each plane.
    func findGreatest(_ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>, planes: Int) {
        let (points, results) = (native.height * native.width, native.output_height * native.output_width)
        Parallel.forEachRange(planes, grain: max(1, 16384 / points)) { range in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: span) { scratch in
                withUnsafePointer(to: native) {
                    cplanes_maximum(
                        $0, source + range.lowerBound * points, range.count, scratch.baseAddress,
                        target + range.lowerBound * results)
                }
            }
        }
    }
}
