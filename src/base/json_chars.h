/* Between json_write.c and the C++ library: the shortest decimal that reads back as the same
 * number, which C has no function for. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_CHARS_MAX 32

/* Both write to out[JSON_CHARS_MAX], without a NUL, and return how much. The value is finite. */
size_t json_chars_real(double value, char *out);
size_t json_chars_float(float value, char *out);

#ifdef __cplusplus
}
#endif
