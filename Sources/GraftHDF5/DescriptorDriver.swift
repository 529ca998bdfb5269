import CHDF5
import Glibc

/// A file driver that reads from an open descriptor with `pread`.
///
/// The library's own drivers open files by name; this one lets the sandbox forbid every open.
enum DescriptorDriver {
    // Layout: the library allocates nothing itself and sees only a pointer to `base`, which must come first.
    private struct OpenFile {
        var base: H5FD_t
        var end: haddr_t
        var size: haddr_t
    }

    /// The descriptor of the input, the same in every helper process.
    static let descriptor: Int32 = 3

    /// File access properties that use the driver.
    static func accessProperties() -> Handle? {
        var driver = H5FD_class_t()
        driver.name = UnsafePointer(strdup("graft-descriptor"))
        driver.maxaddr = haddr_t(Int64.max)
        driver.fc_degree = H5F_CLOSE_WEAK
        driver.open = { _, flags, _, limit in
            // Not fstat, which glibc makes by a call that also takes paths and is therefore forbidden.
            let size = lseek(DescriptorDriver.descriptor, 0, SEEK_END)
            guard flags & graft_h5f_read_write() == 0, size >= 0 else { return nil }
            let file = UnsafeMutablePointer<OpenFile>.allocate(capacity: 1)
            file.initialize(to: OpenFile(base: H5FD_t(), end: 0, size: haddr_t(size)))
            return UnsafeMutableRawPointer(file).assumingMemoryBound(to: H5FD_t.self)
        }
        driver.close = { file in
            UnsafeMutableRawPointer(file)?.assumingMemoryBound(to: OpenFile.self).deallocate()
            return 0
        }
        driver.query = { _, flags in
            flags?.pointee = 0
            return 0
        }
        driver.get_eoa = { file, _ in file.map { DescriptorDriver.file($0).pointee.end } ?? graft_h5_undefined_address()
        }
        driver.set_eoa = { file, _, address in
            guard let file else { return -1 }
            UnsafeMutableRawPointer(file).assumingMemoryBound(to: OpenFile.self).pointee.end = address
            return 0
        }
        driver.get_eof = { file, _ in
            file.map { DescriptorDriver.file($0).pointee.size } ?? graft_h5_undefined_address()
        }
        driver.read = { file, _, _, address, size, target in
            guard let file, let target else { return -1 }
            let end = DescriptorDriver.file(file).pointee.size
            guard address <= end, haddr_t(size) <= end - address else { return -1 }
            var done = 0
            while done < size {
                let count = pread(
                    DescriptorDriver.descriptor, target + done, size - done, off_t(address) + off_t(done))
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return -1 }
                done += count
            }
            return 0
        }
        driver.write = { _, _, _, _, _, _ in -1 }
        let number = H5FDregister(&driver)
        guard number >= 0, let properties = Handle(H5Pcreate(graft_h5p_file_access()), close: H5Pclose),
            H5Pset_driver(properties.id, number, nil) >= 0
        else { return nil }
        return properties
    }

    private static func file(_ pointer: UnsafePointer<H5FD_t>) -> UnsafePointer<OpenFile> {
        UnsafeRawPointer(pointer).assumingMemoryBound(to: OpenFile.self)
    }
}
