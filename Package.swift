// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: no warning passes.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// What a released command is linked with: it carries Swift's libraries in itself.
///
/// So it starts in half the time, and runs where Swift is not installed.
/// What Foundation needs in turn is named, since an archive does not say so; lld takes archives in any order.
let standalone: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-static-stdlib", "-use-ld=lld", "-Xlinker", "--strip-debug", "-lFoundationEssentials", "-l_FoundationICU",
            "-l_FoundationCShims", "-l_FoundationCollections", "-lCoreFoundation",
        ], .when(configuration: .release))
]

let collections = Target.Dependency.product(name: "OrderedCollections", package: "swift-collections")

func swift(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies + [collections], swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["GraftTestSupport", collections], swiftSettings: strict)
}

let package = Package(
    name: "graft",
    products: [
        .executable(name: "graft", targets: ["graft"]),
        .executable(name: "graft-hdf5-reader", targets: ["graft-hdf5-reader"]),
        .library(
            name: "Graft",
            targets: [
                "GraftCore", "GraftIR", "GraftWeights", "GraftONNX", "GraftKeras", "GraftSurgery", "GraftAutodiff",
                "GraftRuntime", "GraftData", "GraftFormats", "GraftTraining", "GraftReport",
            ]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // C libraries, one target each.
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CGOMP", providers: [.apt(["libgomp1"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CHDF5", providers: [.apt(["libhdf5-dev"])]),
        .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
        .systemLibrary(name: "CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "COpenJP2", pkgConfig: "libopenjp2", providers: [.apt(["libopenjp2-7-dev"])]),
        .target(name: "CTIFF", linkerSettings: [.linkedLibrary("tiff")]),
        .target(name: "CPNG", linkerSettings: [.linkedLibrary("png")]),
        .target(name: "COneDNN", linkerSettings: [.linkedLibrary("dnnl")]),
        .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
        .target(name: "COnnxProto", dependencies: ["CProtobufC"]),
        .target(name: "CNumerics"),

        // The house; arrows only go down.
        swift("GraftCore", ["CCrypto", "CGOMP", "CLinux", "CNumerics"]),
        swift("GraftIR", ["GraftCore"]),
        swift("GraftWeights", ["GraftCore", "CZlib"]),
        swift("GraftONNX", ["GraftIR", "GraftCore", "COnnxProto", "CProtobufC"]),
        swift("GraftHDF5", ["GraftCore", "CHDF5"]),
        swift("GraftKeras", ["GraftIR", "GraftCore", "GraftWeights", "GraftHDF5"]),
        swift("GraftSurgery", ["GraftIR", "GraftCore"]),
        swift("GraftAutodiff", ["GraftIR", "GraftCore"]),
        swift("GraftRuntime", ["GraftAutodiff", "GraftIR", "GraftCore", "COneDNN", "CRE2", "CNumerics"]),
        swift(
            "GraftData",
            [
                "GraftIR", "GraftCore", "GraftWeights", "CTurboJPEG", "CPNG", "CWebP", "CTIFF", "COpenJP2", "CNumerics",
            ]),
        swift(
            "GraftTraining",
            [
                "GraftIR", "GraftCore", "GraftWeights", "GraftSurgery", "GraftAutodiff", "GraftRuntime", "GraftData",
                .product(name: "Yams", package: "Yams"),
            ]),
        swift("GraftFormats", ["GraftIR", "GraftCore", "GraftONNX", "GraftKeras", "GraftRuntime"]),
        swift("GraftReport", ["GraftIR", "GraftCore", "GraftData", "GraftTraining"]),
        .executableTarget(
            name: "graft-hdf5-reader", dependencies: ["GraftHDF5"], swiftSettings: strict,
            linkerSettings: standalone),
        .executableTarget(
            name: "graft",
            dependencies: [
                "GraftIR", "GraftCore", "GraftWeights", "GraftONNX", "GraftKeras", "GraftSurgery", "GraftAutodiff",
                "GraftRuntime", "GraftData", "GraftFormats", "GraftTraining", "GraftReport",
                collections, .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict, linkerSettings: standalone),

        .executableTarget(
            name: "graft-conformance",
            dependencies: ["GraftONNX", "GraftRuntime", "GraftData", "GraftIR", "GraftCore", collections],
            path: "Tests/Conformance/Runner", swiftSettings: strict),
        .target(
            name: "GraftTestSupport", dependencies: ["GraftCore", "GraftIR", "GraftWeights"],
            path: "Tests/GraftTestSupport", swiftSettings: strict),
        tests("GraftCoreTests", ["GraftCore", "GraftWeights"]),
        tests("GraftIRTests", ["GraftONNX", "GraftIR", "GraftCore"]),
        tests("GraftWeightsTests", ["GraftWeights", "GraftCore"]),
        tests("GraftONNXTests", ["GraftONNX", "GraftIR", "GraftCore"]),
        tests(
            "GraftKerasTests",
            ["GraftKeras", "GraftHDF5", "GraftONNX", "GraftRuntime", "GraftIR", "GraftCore", "GraftWeights"]),
        tests(
            "GraftSurgeryTests",
            ["GraftSurgery", "GraftFormats", "GraftRuntime", "GraftONNX", "GraftIR", "GraftCore"]),
        tests(
            "GraftAutodiffTests",
            ["GraftAutodiff", "GraftRuntime", "GraftONNX", "GraftIR", "GraftCore", "GraftWeights"]),
        tests(
            "GraftRuntimeTests", ["GraftRuntime", "GraftONNX", "GraftIR", "GraftCore", "GraftWeights", "CNumerics"]),
        tests("GraftDataTests", ["GraftData", "GraftCore", "GraftWeights"]),
        tests(
            "GraftTrainingTests",
            [
                "GraftTraining", "GraftData", "GraftRuntime", "GraftAutodiff", "GraftSurgery", "GraftONNX", "GraftIR",
                "GraftCore", "GraftWeights",
            ]),
        tests("GraftFormatsTests", ["GraftFormats", "GraftONNX", "GraftKeras", "GraftIR", "GraftCore"]),
        tests("GraftReportTests", ["GraftReport", "GraftTraining", "GraftIR", "GraftCore"]),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
