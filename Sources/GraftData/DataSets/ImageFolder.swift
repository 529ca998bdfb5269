import GraftCore

#if canImport(Glibc)
import Glibc
#endif

/// A folder with a folder of pictures for each class.
public enum ImageFolder {
    /// Opens the data set in the folder `path`.
    ///
    /// A folder with the folders `images` and `masks` is a ``MaskFolder``. Otherwise classes are the names of its folders; below those pictures may lie at any depth. Hidden files and folders are
    /// ignored, and so are files that neither are pictures nor have the name of one. Every file's structure is checked,
    /// so that a cut-off picture is found here and not in the middle of training.
    /// - Parameters:
    ///   - modelClasses: a model's class names, which give the labels; each folder must be one of them.
    ///   - skippingUnusable: whether files that cannot be used are left out instead of refused.
    ///   - cacheBytes: the memory for decoded pictures.
    /// - Throws: ``DataSetError`` or ``FileError``.
    public static func open(
        path: String, modelClasses: [String]? = nil, skippingUnusable: Bool = false, limits: Limits = Limits(),
        cacheBytes: Int = 512 << 20
    ) throws -> ImageDataSet {
        let folders = try Folder.entries(path).filter(\.isFolder)
        if MaskFolder.matches(folders.map(\.name)) {
            return try MaskFolder.open(
                path: path, modelClasses: modelClasses, skippingUnusable: skippingUnusable, limits: limits,
                cacheBytes: cacheBytes)
        }
        guard !folders.isEmpty else {
            throw DataSetError.noClasses(
                path: path, advice: "a folder with a folder of pictures for each class is needed")
        }
        let (classNames, labels) = try ClassList.resolve(
            Set(folders.map(\.name)), modelClasses: modelClasses, path: path)
        var entries: [ImageDataSet.Entry] = []
        for folder in folders {
            let files = try Folder.files(below: "\(path)/\(folder.name)", limits: limits).filter {
                ImageFormat.isPictureName($0) || Image.isPicture(path: $0)
            }
            guard !files.isEmpty else { throw DataSetError.emptyClass(path: path, className: folder.name) }
            entries += files.map { ImageDataSet.Entry(path: $0, label: labels[folder.name] ?? 0) }
        }
        let checked = try ImageDataSet.checked(entries, path: path, limits: limits, skipping: skippingUnusable)
        guard !checked.entries.isEmpty else {
            throw DataSetError.noClasses(path: path, advice: "none of its pictures can be used")
        }
        return ImageDataSet(
            entries: checked.entries, classNames: classNames, skipped: checked.skipped, limits: limits,
            cacheBytes: cacheBytes)
    }
}

/// Lists folders.
package enum Folder {
    /// An entry of a folder.
    struct Entry {
        var name: String
        var isFolder: Bool
    }

    /// The entries that are not hidden, in order of their bytes; links are followed.
    static func entries(_ path: String) throws(FileError) -> [Entry] {
        guard let stream = opendir(path) else { throw FileError.opening(path, code: errno) }
        defer { closedir(stream) }
        var result: [Entry] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name.hasPrefix(".") { continue }
            var status = stat()
            guard stat("\(path)/\(name)", &status) == 0 else { continue }
            let kind = status.st_mode & S_IFMT
            if kind == S_IFDIR || kind == S_IFREG { result.append(Entry(name: name, isFolder: kind == S_IFDIR)) }
        }
        return result.sorted { Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8)) }
    }

    /// All files below a folder, folder by folder.
    package static func files(below path: String, limits: Limits, depth: Int = 0) throws(FileError) -> [String] {
        // A link to a folder above would otherwise never end.
        guard depth <= min(limits.nestingDepth, 32) else {
            throw .cannotRead(path: path, reason: "its folders are nested too deeply; a link may lead upwards")
        }
        var result: [String] = []
        for entry in try entries(path) {
            let child = "\(path)/\(entry.name)"
            if entry.isFolder {
                result += try files(below: child, limits: limits, depth: depth + 1)
            } else {
                result.append(child)
            }
        }
        return result
    }
}
