// The part of RE2 that Graft uses: patterns that texts match as a whole, in time linear in the text.
#ifndef CRE2_H
#define CRE2_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gre2_pattern gre2_pattern;

// A compiled pattern, or NULL with a message of at most `capacity` bytes, its end included.
gre2_pattern *gre2_compile(const char *pattern, size_t length, size_t memory, char *message, size_t capacity);

void gre2_free(gre2_pattern *pattern);

bool gre2_full_match(const gre2_pattern *pattern, const char *text, size_t length);

#ifdef __cplusplus
}
#endif

#endif
