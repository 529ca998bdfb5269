import GraftData

extension AugmentationSetting {
    /// How pictures of a kind are usually varied.
    ///
    /// Photographs are cropped and mirrored. Small pictures are moved by a few pixels, since a crop would blur them, and
    /// gray ones are not mirrored: they are often digits, letters or scans, where left and right mean something.
    public static func usual(for preprocessing: Preprocessing) -> [AugmentationSetting] {
        let isSmall = min(preprocessing.width, preprocessing.height) < 64
        let place = isSmall ? AugmentationSetting("shift") : AugmentationSetting("crop", ["scale": [0.5, 1]])
        return preprocessing.channels == .gray ? [place] : [place, AugmentationSetting("flip")]
    }
}
