import GraftCore

/// Walks a file once before anything else parses it, and leaves its weights where they are.
///
/// Depth, lengths, counts and wire types are checked against the schema. What comes out is a skeleton: the same
/// message, in which each `raw_data`, and each large list of floating-point numbers that is packed in one piece, is a
/// ``FileReference`` to its bytes in the file. A field that may come
/// once comes once in it: of repeated scalars the last is kept and repeated messages are joined, which is what protobuf
/// says they mean; so the parser never merges.
struct WireScanner: ~Copyable {
    private let file: MappedFile
    private let bytes: UnsafeRawBufferPointer
    private let schema = WireSchema.model
    private let limits: Limits
    private let nonce: UInt64
    private var messageCount = 0
    private var output: Skeleton
    /// Where the pages that the scan has touched and not given back begin.
    private var firstHeldPage = 0

    private init(_ file: MappedFile, nonce: UInt64, limits: Limits) {
        self.file = file
        bytes = file.bytes
        self.limits = limits
        self.nonce = nonce
        output = Skeleton(budget: limits.parseBytes)
    }

    /// The skeleton of a model.
    ///
    /// - Throws: ``ONNXError``.
    static func skeleton(
        of file: MappedFile, nonce: UInt64, path: String, limits: Limits
    ) throws(ONNXError) -> Skeleton {
        var scanner = WireScanner(file, nonce: nonce, limits: limits)
        do {
            try scanner.message([0..<file.count], type: 0, depth: 1)
        } catch let fault as WireCursor.Malformation {
            throw .malformed(path: path, offset: fault.offset, reason: fault.reason)
        } catch is Skeleton.TooLarge {
            throw .exceedsLimit(path: path, what: "its structure", name: "parse-bytes", limit: limits.parseBytes)
        } catch let limit as LimitPassed {
            throw .exceedsLimit(path: path, what: limit.what, name: limit.name, limit: limit.value)
        } catch {
            throw .malformed(path: path, offset: 0, reason: "\(error)")
        }
        return scanner.finish()
    }

    private struct LimitPassed: Error {
        var what: String
        var name: String
        var value: Int
    }

    private consuming func finish() -> Skeleton { output }

    /// Writes the message whose fields lie in the given ranges, in their order.
    private mutating func message(_ pieces: [Range<Int>], type: Int, depth: Int) throws {
        guard depth <= limits.nestingDepth else {
            throw LimitPassed(what: "its nesting", name: "nesting-depth", value: limits.nestingDepth)
        }
        messageCount += 1
        guard messageCount <= limits.objectCount else {
            throw LimitPassed(what: "the number of its messages", name: "object-count", value: limits.objectCount)
        }
        // The first pass touches only what the message itself holds, so the whole scan is linear in depth times size.
        var isPlain = pieces.count == 1
        var hasWholeLists = isPlain
        for piece in pieces {
            let repetition = try checkFields(piece, type: type)
            isPlain = isPlain && !repetition.ofSingleFields
            hasWholeLists = hasWholeLists && !repetition.ofLists
        }
        if isPlain {
            var cursor = WireCursor(bytes, pieces[0])
            while let field = try cursor.next() { try emit(field, type: type, depth: depth, isWhole: hasWholeLists) }
        } else {
            try mergedMessage(pieces, type: type, depth: depth)
        }
    }

    /// Gives back pages behind the scan: touching a few bytes beside a large weight maps much of it.
    private mutating func pass(_ offset: Int) {
        if offset < firstHeldPage {
            firstHeldPage = offset
        } else if offset - firstHeldPage > 16 << 20 {
            file.releasePages(firstHeldPage..<offset)
            firstHeldPage = offset
        }
    }

    /// Checks the fields of a message, and says whether a field that may come once, or a list that would stay in the
    /// file if it came in one piece, comes again.
    private mutating func checkFields(
        _ range: Range<Int>, type: Int
    ) throws -> (ofSingleFields: Bool, ofLists: Bool) {
        var cursor = WireCursor(bytes, range)
        var seen: UInt64 = 0
        var repetition = (ofSingleFields: false, ofLists: false)
        while let field = try cursor.next() {
            pass(field.whole.lowerBound)
            let known = schema.messages[type].field(field.number)
            guard let wireType = known.wireType else { continue }
            if field.wireType != wireType {
                guard field.wireType == 2, let width = known.packedWidth else {
                    throw WireCursor.Malformation(
                        offset: field.whole.lowerBound,
                        reason: "field \(field.number) of \(schema.messages[type].name) has the wire type "
                            + "\(field.wireType) in place of \(wireType)")
                }
                try checkPacked(field.payload, width: width)
            }
            if !known.isRepeated || known.isReference {
                if seen & (1 << UInt64(field.number) | known.alternatives) != 0 {
                    if known.isRepeated { repetition.ofLists = true } else { repetition.ofSingleFields = true }
                }
                seen |= 1 << UInt64(field.number)
            }
        }
        return repetition
    }

    private func checkPacked(_ range: Range<Int>, width: Int) throws {
        if width > 0 {
            guard range.count % width == 0 else {
                throw WireCursor.Malformation(
                    offset: range.lowerBound, reason: "\(range.count) bytes are no list of \(width)-byte numbers")
            }
        } else {
            var cursor = WireCursor(bytes, range)
            while cursor.position < cursor.end { _ = try cursor.varint() }
        }
    }

    private mutating func emit(
        _ field: WireCursor.Field, type: Int, depth: Int, isWhole: Bool
    ) throws {
        let known = schema.messages[type].field(field.number)
        if known.isReference, field.wireType == 2, !known.isRepeated || isWhole && field.payload.count >= 4096 {
            let reference = FileReference(nonce: nonce, range: field.payload)
            try output.append(reference, field: field.number)
        } else if let inner = known.message {
            let mark = try output.open(field: field.number)
            try message([field.payload], type: inner, depth: depth + 1)
            output.close(mark)
            pass(field.whole.upperBound)
        } else {
            try output.append(UnsafeRawBufferPointer(rebasing: bytes[field.whole]))
        }
    }

    private mutating func mergedMessage(_ pieces: [Range<Int>], type: Int, depth: Int) throws {
        var kept: [WireCursor.Field?] = []
        var joined: [Int: [Range<Int>]] = [:]
        var place: [Int: Int] = [:]
        for piece in pieces {
            var cursor = WireCursor(bytes, piece)
            while let field = try cursor.next() {
                guard kept.count < limits.objectCount else {
                    throw LimitPassed(
                        what: "the number of its fields", name: "object-count", value: limits.objectCount)
                }
                let known = schema.messages[type].field(field.number)
                guard known.wireType != nil, !known.isRepeated else {
                    kept.append(field)
                    continue
                }
                for other in place.keys where other != field.number && known.alternatives >> UInt64(other) & 1 == 1 {
                    kept[place[other] ?? 0] = nil
                    place[other] = nil
                    joined[other] = nil
                }
                if let earlier = place[field.number] { kept[earlier] = nil }
                if known.message != nil { joined[field.number, default: []].append(field.payload) }
                place[field.number] = kept.count
                kept.append(field)
            }
        }
        for case let field? in kept {
            if let parts = joined[field.number], let inner = schema.messages[type].field(field.number).message {
                let mark = try output.open(field: field.number)
                try message(parts, type: inner, depth: depth + 1)
                output.close(mark)
            } else {
                try emit(field, type: type, depth: depth, isWhole: false)
            }
        }
    }
}
