import CHDF5
import GraftCore

/// Walks a file in the helper process and describes what it finds.
///
/// Goes one link at a time and reads the class of a link before it opens what the link names; only hard links are
/// followed. Every group is entered once.
final class Walker {
    let writer: ManifestWriter
    let limits: Limits
    private var objects = 0
    private var texts = 0
    private var entered: Set<haddr_t> = []
    private var embedded = 0

    init(writer: ManifestWriter, limits: Limits) {
        self.writer = writer
        self.limits = limits
    }

    /// Describes the whole file.
    func walk(_ file: borrowing Handle) throws {
        let root = try open("/", at: file.id, path: "/")
        try group(root, name: "", path: "", depth: 0)
        writer.tag(.finished)
    }

    /// Writes the elements of one data set that was deferred.
    func decode(_ path: String, in file: borrowing Handle) throws {
        var object = try open("/", at: file.id, path: "/")
        var reached = ""
        for part in path.split(separator: "/") {
            let name = String(part)
            reached += "/\(name)"
            var info = H5L_info_t()
            guard H5Lget_info(object.id, name, &info, hid_t(H5P_DEFAULT)) >= 0 else {
                throw DecodingFailure(.damaged, object: reached, detail: "it is no longer there")
            }
            try checkLink(info.type, path: reached)
            object = try open(name, at: object.id, path: reached)
        }
        let reader = try DatasetReader(object, path: reached, limits: limits)
        guard case .deferred(let type, _) = reader.plan else {
            throw DecodingFailure(.damaged, object: reached, detail: "its layout has changed")
        }
        writer.tag(.bytes)
        writer.number(reader.byteCount)
        try reader.read(type, from: object, to: writer)
    }

    private func group(_ group: borrowing Handle, name: String, path: String, depth: Int) throws {
        let shown = path.isEmpty ? "/" : path
        guard depth <= limits.nestingDepth else { throw DecodingFailure(.tooDeep, object: shown) }
        guard entered.insert(try address(of: group, path: shown)).inserted else {
            throw DecodingFailure(.sharedGroup, object: shown)
        }
        writer.tag(.group)
        writer.text(name)
        try attributes(of: group, path: shown)
        for link in try links(of: group, path: shown) {
            let childPath = "\(path)/\(link.name)"
            try checkLink(link.type, path: childPath)
            let child = try open(link.name, at: group.id, path: childPath)
            switch H5Iget_type(child.id) {
            case H5I_GROUP: try self.group(child, name: link.name, path: childPath, depth: depth + 1)
            case H5I_DATASET: try dataset(child, name: link.name, path: childPath)
            default:
                writer.tag(.dataset)
                writer.text(link.name)
                writer.number(0)
                writer.kind(.unsupported)
                writer.text("a named type")
            }
        }
        writer.tag(.endGroup)
    }

    private func dataset(_ dataset: borrowing Handle, name: String, path: String) throws {
        writer.tag(.dataset)
        writer.text(name)
        try attributes(of: dataset, path: path)
        let reader = try DatasetReader(dataset, path: path, limits: limits)
        switch reader.plan {
        case .unsupported(let type):
            writer.kind(.unsupported)
            writer.text(type)
        case .mapped(let type, let offset):
            writer.kind(.mapped)
            writer.elementType(type)
            writer.numbers(reader.shape)
            writer.number(offset)
        case .strings(let format):
            let strings = try reader.strings(format, from: dataset)
            try count(text: strings.elements, path: path)
            writer.kind(.strings)
            writer.strings(strings)
        case .deferred(let type, let storedType):
            // Small ones come along: a second process costs more than their bytes.
            let comesAlong = reader.byteCount <= 4 << 20 && embedded + reader.byteCount <= 64 << 20
            writer.kind(comesAlong ? .embedded : .deferred)
            writer.elementType(storedType)
            writer.numbers(reader.shape)
            if comesAlong {
                embedded += reader.byteCount
                writer.number(reader.byteCount)
                try reader.read(type, from: dataset, to: writer)
            }
        }
    }

    private func attributes(of object: borrowing Handle, path: String) throws {
        let names = try AttributeReader.names(of: object, path: path, limit: limits.objectCount - objects)
        try count(objects: names.count, path: path)
        writer.number(names.count)
        for name in names {
            let reader = AttributeReader(path: "\(path)@\(name)", limits: limits)
            let value = try reader.read(name, of: object)
            writer.text(name)
            switch value {
            case .empty: writer.kind(.empty)
            case .unsupported(let type):
                writer.kind(.unsupported)
                writer.text(type)
            case .strings(let strings):
                try count(text: strings.elements, path: reader.path)
                writer.kind(.strings)
                writer.strings(strings)
            case .tensor(let tensor):
                writer.kind(.embedded)
                writer.elementType(tensor.elementType)
                writer.numbers(tensor.shape)
                try tensor.withBytes { writer.byteString($0) }
            }
        }
    }

    private struct Link {
        let name: String
        let type: H5L_type_t
    }

    private struct LinkList {
        var links: [Link] = []
        var room: Int
        var hasUnreadableName = false
    }

    /// The links of a group with their classes; nothing is opened.
    private func links(of group: borrowing Handle, path: String) throws -> [Link] {
        var list = LinkList(room: limits.objectCount - objects)
        let status = withUnsafeMutablePointer(to: &list) { list in
            H5Literate(
                group.id, H5_INDEX_NAME, H5_ITER_INC, nil,
                { _, name, info, data in
                    guard let name, let info, let list = data?.assumingMemoryBound(to: LinkList.self) else { return -1 }
                    guard let text = String(validatingCString: name) else {
                        list.pointee.hasUnreadableName = true
                        return -1
                    }
                    list.pointee.room -= 1
                    guard list.pointee.room >= 0 else { return -1 }
                    list.pointee.links.append(Link(name: text, type: info.pointee.type))
                    return 0
                }, list)
        }
        guard list.room >= 0 else { throw DecodingFailure(.tooManyObjects, object: path) }
        guard !list.hasUnreadableName else {
            throw DecodingFailure(.damaged, object: path, detail: "the name of something in it is not UTF-8")
        }
        guard status >= 0 else { throw DecodingFailure(.damaged, object: path, detail: "its list of names is broken") }
        try count(objects: list.links.count, path: path)
        return list.links
    }

    private func checkLink(_ type: H5L_type_t, path: String) throws {
        switch type {
        case H5L_TYPE_HARD: return
        case H5L_TYPE_SOFT: throw DecodingFailure(.softLink, object: path)
        case H5L_TYPE_EXTERNAL: throw DecodingFailure(.externalLink, object: path)
        default: throw DecodingFailure(.unknownLink, object: path)
        }
    }

    private func open(_ name: String, at parent: hid_t, path: String) throws -> Handle {
        guard let object = Handle(H5Oopen(parent, name, hid_t(H5P_DEFAULT)), close: H5Oclose) else {
            throw DecodingFailure(.damaged, object: path, detail: "it cannot be opened")
        }
        return object
    }

    private func address(of object: borrowing Handle, path: String) throws -> haddr_t {
        var info = H5O_info_t()
        guard H5Oget_info2(object.id, &info, UInt32(H5O_INFO_BASIC)) >= 0 else {
            throw DecodingFailure(.damaged, object: path, detail: "its header cannot be read")
        }
        return info.addr
    }

    private func count(objects added: Int, path: String) throws {
        objects += added
        guard objects <= limits.objectCount else { throw DecodingFailure(.tooManyObjects, object: path) }
    }

    private func count(text elements: [[UInt8]], path: String) throws {
        texts += elements.reduce(0) { $0 + $1.count + 16 }
        guard texts <= limits.textBytes else { throw DecodingFailure(.oversizedText, object: path) }
    }
}
