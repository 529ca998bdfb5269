import GraftData

extension AugmentationSetting {
    /// How pictures of a kind are usually varied.
    ///
    /// Photographs are cropped and mirrored. Small pictures are moved by a few pixels, since a crop would blur them, tiny
    /// ones stay where they are, since a pixel is much of them. Gray ones are not mirrored: they are often digits, letters
    /// or scans, where left and right mean something.
    public static func usual(for preprocessing: Preprocessing) -> [AugmentationSetting] {
        let place: [AugmentationSetting] =
            switch min(preprocessing.width, preprocessing.height) {
            case ..<24: []
            case ..<64: [AugmentationSetting("shift")]
            default: [AugmentationSetting("crop", ["scale": [0.5, 1]])]
            }
        return preprocessing.channels == .gray ? place : place + [AugmentationSetting("flip")]
    }
}
