// Functions that are compiled for several instruction sets, of which one is chosen when the program is loaded.
#pragma once

#include <stddef.h>

#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

// What a clone calls: as a function of its own it would be compiled for the oldest processor.
#define ALWAYS_INLINE static inline __attribute__((always_inline))
