import CLinux

#if canImport(Glibc)
import Glibc
#endif

/// A buffered writer to one open file.
public final class FileWriter {
    private let descriptor: Int32
    private let path: String
    private let buffer = ByteBuffer(count: 1 << 18)
    private var filled = 0
    private var reserved = 0
    /// Up to where the system was told to start writing to the disk.
    private var started = 0

    /// The number of bytes written so far.
    public private(set) var position = 0

    init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Takes room on the disk for a file of `count` bytes, where the file system can.
    ///
    /// Blocks that are taken at once are written faster than those that are taken one by one, and a disk that is full
    /// says so before the work. What is not written to is given back at the end.
    /// - Throws: ``FileError`` where there is no room.
    public func reserve(_ count: Int) throws(FileError) {
        guard count > reserved else { return }
        if fallocate(descriptor, 0, 0, Int64(count)) == 0 {
            reserved = count
        } else if [ENOSPC, EDQUOT, EFBIG].contains(errno) {
            throw .cannotWrite(path: path, reason: FileError.systemReason())
        }
    }

    /// Appends bytes; large blocks go to the file without a copy.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        position += bytes.count
        if bytes.count >= buffer.count {
            try flush()
            try send(bytes)
            return
        }
        if filled + bytes.count > buffer.count { try flush() }
        memcpy(buffer.mutableBytes.baseAddress! + filled, start, bytes.count)
        filled += bytes.count
    }

    /// Appends a range of a mapped file, in bounded memory.
    ///
    /// While one part is copied, another thread makes the pages of the next one resident, drops those of the last, and
    /// has the system start to write what is finished.
    public func write(_ file: MappedFile, _ range: Range<Int>) throws(FileError) {
        let step = 1 << 20
        func part(from start: Int) -> Range<Int> { start..<min(start + step, range.upperBound) }
        var (last, current) = (range.lowerBound..<range.lowerBound, part(from: range.lowerBound))
        file.adviseSequential(range)
        file.loadPages(current)
        var failure: FileError?
        while !current.isEmpty {
            let next = part(from: current.upperBound)
            let isWriteBackDue = position - started >= 16 << 20
            let finished = isWriteBackDue ? started..<position : started..<started
            Parallel.forEachRange(last.isEmpty && next.isEmpty ? 1 : 2) { lanes in
                if lanes.contains(0) {
                    do throws(FileError) {
                        try write(UnsafeRawBufferPointer(rebasing: file.bytes[current]))
                    } catch {
                        failure = error
                    }
                }
                if lanes.contains(1) {
                    startWriteBack(finished)
                    file.releasePages(last)
                    file.loadPages(next)
                }
            }
            if let failure { throw failure }
            started = finished.upperBound
            (last, current) = (current, next)
        }
        file.releasePages(last)
        withExtendedLifetime(file) {}
    }

    private func startWriteBack(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        // No more than a wish: a file system that cannot start now writes later.
        _ = sync_file_range(descriptor, Int64(range.lowerBound), Int64(range.count), graft_sync_file_range_write)
    }

    /// Appends an array of bytes.
    public func write(_ bytes: [UInt8]) throws(FileError) {
        do { try bytes.withUnsafeBytes { try write($0) } } catch let error as FileError { throw error } catch {
            throw FileError.cannotWrite(path: path, reason: "\(error)")
        }
    }

    /// Appends `count` zero bytes.
    public func writeZeros(_ count: Int) throws(FileError) {
        var left = count
        let zeros = [UInt8](repeating: 0, count: min(count, 1 << 16))
        while left > 0 {
            try write(left >= zeros.count ? zeros : Array(zeros[..<left]))
            left -= min(left, zeros.count)
        }
    }

    func finish() throws(FileError) {
        try flush()
        guard position >= reserved || ftruncate(descriptor, off_t(position)) == 0 else {
            throw .cannotWrite(path: path, reason: FileError.systemReason())
        }
    }

    private func flush() throws(FileError) {
        guard filled > 0 else { return }
        let count = filled
        filled = 0
        try send(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
    }

    private func send(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var offset = 0
        while offset < bytes.count {
            let sent = Glibc.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
            if sent < 0 {
                if errno == EINTR { continue }
                throw .cannotWrite(path: path, reason: FileError.systemReason())
            }
            offset += sent
        }
    }
}
