import Synchronization

/// Decoded pictures in memory, up to a budget.
///
/// The first pictures that fit stay for good: every epoch visits all pictures once, so replacing some by others would
/// only make each of them be decoded again.
final class ImageCache: Sendable {
    private struct State {
        var images: [Int: Image] = [:]
        var bytes = 0
    }

    private let budget: Int
    private let state = Mutex(State())

    init(budget: Int) { self.budget = budget }

    func image(_ index: Int) -> Image? { state.withLock { $0.images[index] } }

    func keep(_ image: Image, as index: Int) {
        state.withLock { state in
            guard state.images[index] == nil, image.pixels.count <= budget - state.bytes else { return }
            state.images[index] = image
            state.bytes += image.pixels.count
        }
    }
}
