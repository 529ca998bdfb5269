import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// The batches of one epoch, in order.
///
/// Used by one thread. When it is released, background threads finish the batch that they are at and end.
public final class BatchSequence {
    private let loader: BatchLoader
    private let epoch: Int
    private let order: [Int]
    private var number: Int
    private let queue: BatchQueue?

    init(_ loader: BatchLoader, epoch: Int, first: Int) {
        self.loader = loader
        self.epoch = epoch
        order = loader.order(epoch: epoch)
        number = max(0, first)
        guard loader.workers > 0, number < loader.batchCount else {
            queue = nil
            return
        }
        let order = order
        queue = BatchQueue(first: number, end: loader.batchCount, ahead: loader.ahead, workers: loader.workers) {
            try loader.batch($0, order: order, epoch: epoch, parallel: false)
        }
    }

    deinit { queue?.cancel() }

    /// The next batch; nil after the last one.
    ///
    /// - Throws: what loading a sample of this batch throws.
    public func next() throws -> Batch? {
        guard number < loader.batchCount else { return nil }
        defer { number += 1 }
        if let queue { return try queue.take(number) }
        return try loader.batch(number, order: order, epoch: epoch, parallel: true)
    }
}

/// Batches that background threads make ahead of the one that is asked for.
private final class BatchQueue: @unchecked Sendable {
    // Invariant: all variables below are touched only while `mutex` is held; the two C objects live as long as this
    // object, which every thread keeps alive until it ends.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var ready: [Int: Result<Batch, any Error>] = [:]
    private var upcoming: Int
    private var taken: Int
    private var isCancelled = false
    private var hasWorkers = false
    private let end: Int
    private let ahead: Int
    private let make: @Sendable (Int) throws -> Batch

    init(first: Int, end: Int, ahead: Int, workers: Int, make: @escaping @Sendable (Int) throws -> Batch) {
        upcoming = first
        taken = first
        self.end = end
        self.ahead = ahead
        self.make = make
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
        var started = 0
        for _ in 0..<workers {
            let reference = Unmanaged.passRetained(self)
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { raw in
                    if let raw { Unmanaged<BatchQueue>.fromOpaque(raw).takeRetainedValue().work() }
                    return nil
                }, reference.toOpaque())
            if status == 0 {
                pthread_detach(thread)
                started += 1
            } else {
                reference.release()
            }
        }
        hasWorkers = started > 0
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    private func work() {
        pthread_mutex_lock(mutex)
        while true {
            while !isCancelled, upcoming < end, upcoming - taken >= ahead { pthread_cond_wait(changed, mutex) }
            if isCancelled || upcoming >= end { break }
            let number = upcoming
            upcoming += 1
            pthread_mutex_unlock(mutex)
            let result = Result { try make(number) }
            pthread_mutex_lock(mutex)
            ready[number] = result
            pthread_cond_broadcast(changed)
        }
        pthread_mutex_unlock(mutex)
    }

    /// The batch of the given number, which is one more than the one before.
    func take(_ number: Int) throws -> Batch {
        guard hasWorkers else { return try make(number) }
        pthread_mutex_lock(mutex)
        while ready[number] == nil { pthread_cond_wait(changed, mutex) }
        let result = ready.removeValue(forKey: number)
        taken = number + 1
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
        guard let result else { return try make(number) }
        return try result.get()
    }

    func cancel() {
        pthread_mutex_lock(mutex)
        isCancelled = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}
