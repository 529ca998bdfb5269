import GraftHDF5

Decoder.main(CommandLine.arguments)
