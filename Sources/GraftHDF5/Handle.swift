import CHDF5

/// An identifier of the HDF5 library, closed when it goes out of scope.
struct Handle: ~Copyable {
    /// The library's number for the object.
    let id: hid_t
    private let close: (hid_t) -> herr_t

    /// Takes over an identifier; nil where it is not valid.
    init?(_ id: hid_t, close: @escaping (hid_t) -> herr_t) {
        guard id >= 0 else { return nil }
        self.id = id
        self.close = close
    }

    deinit { _ = close(id) }
}

extension Handle {
    /// Starts the library: no error output, no plug-ins.
    ///
    /// An unknown filter in a file makes the library look for shared objects to load; that is switched off.
    static func startLibrary() -> Bool {
        H5open() >= 0 && H5Eset_auto2(hid_t(H5E_DEFAULT), nil, nil) >= 0 && H5PLset_loading_state(0) >= 0
    }
}
