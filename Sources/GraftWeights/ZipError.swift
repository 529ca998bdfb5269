import GraftCore

/// What can be wrong with a ZIP archive.
public enum ZipError: GraftError, Equatable {
    /// The file has no readable end-of-central-directory record.
    case notAnArchive(path: String, reason: String)
    /// The archive's structure contradicts itself.
    case damaged(path: String, member: String, reason: String)
    /// A member's name could lead outside a folder, or a member is a link.
    case unsafeMember(path: String, member: String, reason: String)
    /// Two members have the same name.
    case duplicateName(path: String, member: String)
    /// Two members claim the same bytes of the file.
    case overlap(path: String, member: String, other: String)
    /// A member is encrypted, spans disks or is compressed by another method than deflate.
    case unsupported(path: String, member: String, feature: String)
    /// A bound of ``Limits`` would be exceeded.
    case limitExceeded(path: String, member: String, reason: String)
    /// A member's bytes do not have the checksum that the archive states.
    case wrongChecksum(path: String, member: String)
    /// There is no member of this name.
    case noSuchMember(path: String, member: String, suggestion: String)

    /// The exit status of a command that this error ends.
    public var exitStatus: ExitStatus { .badInput }

    /// What is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .notAnArchive(let path, let reason): "\(path): not a complete ZIP archive: \(reason)"
        case .damaged(let path, let member, let reason): "\(path): member \"\(member)\": \(reason)"
        case .unsafeMember(let path, let member, let reason): "\(path): member \"\(member)\" is refused: \(reason)"
        case .duplicateName(let path, let member): "\(path): more than one member is named \"\(member)\""
        case .overlap(let path, let member, let other):
            "\(path): the members \"\(member)\" and \"\(other)\" claim the same bytes"
        case .unsupported(let path, let member, let feature):
            "\(path): member \"\(member)\": \(feature) is not supported; write the archive stored or deflated"
        case .limitExceeded(let path, let member, let reason): "\(path): member \"\(member)\": \(reason)"
        case .wrongChecksum(let path, let member):
            "\(path): member \"\(member)\" is damaged: its CRC-32 is not the one that the archive states"
        case .noSuchMember(let path, let member, let suggestion):
            "\(path): there is no member \"\(member)\".\(suggestion)"
        }
    }
}
