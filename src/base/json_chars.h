/* Between json_write.c and the C++ library: integers in a tenth of printf's time, and the shortest
 * decimal that reads back as the same number, which C has no function for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_CHARS_MAX 32

/* All write to out[JSON_CHARS_MAX], without a NUL, and return how much. Reals are finite. */
size_t json_chars_int(int64_t value, char *out);
size_t json_chars_uint(uint64_t value, char *out);
size_t json_chars_real(double value, char *out);
size_t json_chars_float(float value, char *out);

#ifdef __cplusplus
}
#endif
