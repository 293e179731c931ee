/* Between config.c and the C++ parser. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* JSON text to be freed with free(), or NULL and the place and reason in `why`. */
char *config_toml_to_json(const char *text, size_t len, char *why, size_t why_size);

#ifdef __cplusplus
}
#endif
