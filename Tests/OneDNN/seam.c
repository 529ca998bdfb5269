// Compares what the seam over oneDNN computes with plain loops. With --list, names every test, the implementation that
// the library chose and the error.
#include "seam.h"

int main(int count, char **arguments) {
    listing = count > 1 && !strcmp(arguments[1], "--list");
    test_layouts();
    test_reorder();
    test_convolution();
    test_gradients();
    test_products();
    test_quantised();
    test_elementwise();
    test_pooling();
    test_normalization();
    test_resampling();
    test_errors();
    int version = gdnn_version();
    printf(
        "oneDNN %d.%d.%d: %d of %d tests passed, %d checks, %d not offered by the library\n", version / 10000,
        version / 100 % 100, version % 100, tests - failures, tests, checks, missing);
    return failures != 0;
}
