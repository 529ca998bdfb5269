// Conversions between binary16 and binary32. Swift's own Float16 conversions call a library routine per element on
// baseline x86-64; these use the F16C instructions where the processor has them and the same routine where it has not.
#pragma once
#include <stddef.h>
#include <stdint.h>

void cnumerics_half_to_float(const uint16_t *source, float *target, size_t count);
// The same; `streams` where the result goes past the caches, for what is larger than they are: the thread calls
// cmovement_finish_streams at the end.
void cnumerics_half_to_float_past(const uint16_t *source, float *target, size_t count, int streams);
void cnumerics_float_to_half(const float *source, uint16_t *target, size_t count);
