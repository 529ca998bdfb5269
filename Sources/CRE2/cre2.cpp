#include "cre2.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>

struct gre2_pattern {
    RE2 expression;
};

extern "C" gre2_pattern *gre2_compile(
    const char *pattern, size_t length, size_t memory, char *message, size_t capacity) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(static_cast<int64_t>(memory));
    auto *result = new (std::nothrow) gre2_pattern{RE2(re2::StringPiece(pattern, length), options)};
    if (result == nullptr) {
        std::snprintf(message, capacity, "no memory");
        return nullptr;
    }
    if (!result->expression.ok()) {
        std::snprintf(message, capacity, "%s", result->expression.error().c_str());
        delete result;
        return nullptr;
    }
    return result;
}

extern "C" void gre2_free(gre2_pattern *pattern) { delete pattern; }

extern "C" bool gre2_full_match(const gre2_pattern *pattern, const char *text, size_t length) {
    return RE2::FullMatch(re2::StringPiece(text, length), pattern->expression);
}
