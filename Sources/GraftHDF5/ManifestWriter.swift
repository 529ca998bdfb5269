import Glibc
import GraftCore

/// Writes an answer to the parent process, in pieces.
final class ManifestWriter {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private let pieceSize = 1 << 18

    init(descriptor: Int32) {
        self.descriptor = descriptor
        pending.reserveCapacity(pieceSize + 4096)
        pending += manifestSignature
    }

    func tag(_ tag: ManifestTag) { byte(tag.rawValue) }
    func kind(_ kind: ManifestValue) { byte(kind.rawValue) }

    func byte(_ value: UInt8) {
        pending.append(value)
        if pending.count >= pieceSize { flush() }
    }

    func number(_ value: Int) {
        withUnsafeBytes(of: UInt64(max(value, 0)).littleEndian) { pending += $0 }
        if pending.count >= pieceSize { flush() }
    }

    func byteString(_ bytes: [UInt8]) { bytes.withUnsafeBytes { byteString($0) } }
    func text(_ text: String) { byteString(Array(text.utf8)) }

    func byteString(_ bytes: UnsafeRawBufferPointer) {
        number(bytes.count)
        raw(bytes)
    }

    /// Appends bytes whose length the reader knows.
    func raw(_ bytes: UnsafeRawBufferPointer) {
        if bytes.count >= pieceSize {
            flush()
            send(bytes)
        } else {
            pending += bytes
            if pending.count >= pieceSize { flush() }
        }
    }

    func numbers(_ values: [Int]) {
        number(values.count)
        for value in values { number(value) }
    }

    func elementType(_ type: ElementType) { number(Int(type.rawValue)) }

    func strings(_ strings: HDF5Strings) {
        byte(strings.format.characters.rawValue)
        byte(strings.format.padding.rawValue)
        number(strings.format.fixedLength ?? 0)
        numbers(strings.shape)
        number(strings.elements.count)
        for element in strings.elements { byteString(element) }
    }

    /// Ends the answer, which may be in the middle of a record.
    func failure(_ failure: DecodingFailure) {
        let (object, detail) = (Array(failure.object.utf8), Array(failure.detail.utf8))
        byte(failure.cause.rawValue)
        byte(failure.refusal?.rawValue ?? 0)
        byteString(object)
        byteString(detail)
        number(2 + 8 + object.count + 8 + detail.count)
        tag(.failure)
    }

    /// Sends what is pending.
    func flush() {
        pending.withUnsafeBytes { send($0) }
        pending.removeAll(keepingCapacity: true)
    }

    private func send(_ bytes: UnsafeRawBufferPointer) {
        var done = 0
        while done < bytes.count {
            let count = write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            // Without a reader the answer is of no use.
            guard count > 0 else { _exit(1) }
            done += count
        }
    }
}
