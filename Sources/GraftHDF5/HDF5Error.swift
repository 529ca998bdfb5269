import GraftCore

/// What can be wrong with an HDF5 file, or with reading or writing one.
public enum HDF5Error: GraftError, Equatable {
    /// The file does not have HDF5's signature.
    case notHDF5(path: String)
    /// The file uses something that is never followed or would take too much.
    case refused(path: String, object: String, refusal: HDF5Refusal)
    /// The file contradicts itself or is cut off.
    case damaged(path: String, object: String, detail: String)
    /// The helper process was ended by a signal while it read the file.
    case decoderCrashed(path: String, signal: Int32)
    /// Reading took too long and was stopped.
    case timedOut(path: String, seconds: Int)
    /// The helper program was not found.
    case helperMissing(searched: [String])
    /// The helper program could not do its work.
    case helperFailed(path: String, reason: String)
    /// An object that was asked for is not in the file.
    case missing(path: String, object: String)
    /// An object is of another kind or type than was asked for.
    case unexpected(path: String, object: String, expected: String)
    /// A value cannot be stored in HDF5 in the form that Keras reads.
    case cannotStore(object: String, reason: String)
    /// The HDF5 library refused to write.
    case cannotWrite(path: String, object: String, operation: String)

    /// The exit status of a command that the error ends.
    public var exitStatus: ExitStatus {
        switch self {
        case .helperMissing, .cannotStore: .software
        case .cannotWrite: .ioFailure
        default: .badInput
        }
    }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .notHDF5(let path): "\(path): not an HDF5 file (it does not start with HDF5's signature)"
        case .refused(let path, let object, let refusal): "\(path): \(object): \(refusal.reason)"
        case .damaged(let path, let object, let detail): "\(path): \(object): damaged HDF5: \(detail)"
        case .decoderCrashed(let path, let signal):
            "\(path): damaged HDF5: the decoder was stopped by signal \(signal); nothing was read"
        case .timedOut(let path, let seconds):
            "\(path): reading took more than \(seconds) s and was stopped; "
                + "the file is damaged, or the limit helper-seconds is too low"
        case .helperMissing(let searched):
            "the program graft-hdf5-reader, which reads HDF5 files, was not found in \(searched.joined(separator: ", "));"
                + " install it beside graft or set GRAFT_HDF5_READER to its path"
        case .helperFailed(let path, let reason): "\(path): cannot be read as HDF5: \(reason)"
        case .missing(let path, let object): "\(path): has no \(object)"
        case .unexpected(let path, let object, let expected): "\(path): \(object): expected \(expected)"
        case .cannotStore(let object, let reason): "\(object): cannot be stored in HDF5: \(reason)"
        case .cannotWrite(let path, let object, let operation):
            "\(path): \(object): the HDF5 library could not \(operation); nothing was replaced"
        }
    }
}

/// Why something in an HDF5 file is not read.
///
/// The rules on links, external storage, virtual data sets and declared sizes are those of Keras 3
/// (`keras/src/saving/saving_lib.py`), with a lower floor on sizes.
public enum HDF5Refusal: UInt8, Sendable, CaseIterable {
    /// A link to a path inside the file.
    case softLink = 1
    /// A link to another file.
    case externalLink = 2
    /// A link of a kind that some other program defined.
    case unknownLink = 3
    /// Bytes that lie in another file.
    case externalStorage = 4
    /// A data set put together from others.
    case virtualDataset = 5
    /// A group that is reached by more than one way, so that walking might not end.
    case sharedGroup = 6
    /// Groups nested too deeply.
    case tooDeep = 7
    /// Too many objects.
    case tooManyObjects = 8
    /// An attribute or name that is too large.
    case oversizedText = 9
    /// A data set that declares far more than it stores.
    case inflatedSize = 10
    /// A data set that decodes to too many bytes.
    case oversizedDataset = 11
    /// A filter other than deflate, shuffle and fletcher32.
    case filter = 12

    /// What is refused, and why.
    public var reason: String {
        switch self {
        case .softLink: "is a soft link, which is refused"
        case .externalLink: "is a link to another file, which is refused"
        case .unknownLink: "is a user-defined link, which is refused"
        case .externalStorage: "keeps its bytes in another file, which is refused"
        case .virtualDataset: "is a virtual data set, which is refused"
        case .sharedGroup: "is a group that is linked more than once, which is refused"
        case .tooDeep: "is nested deeper than the limit nesting-depth allows"
        case .tooManyObjects: "there are more objects than the limit object-count allows"
        case .oversizedText: "is longer than the limit text-bytes allows"
        case .inflatedSize:
            "declares far more bytes than the file stores for it (limit expansion-ratio), which is refused"
        case .oversizedDataset: "decodes to more bytes than the limit decoded-tensor-bytes allows"
        case .filter: "is compressed by a filter other than deflate, shuffle or fletcher32, which is refused"
        }
    }
}
