/* Any bytes as a configuration file: refused with a reason, or JSON that reads. */
#include "base/base.h"
#include "base/config_toml.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    char why[256] = "";
    const Json *value;
    Err err = {0};
    char *json = config_toml_to_json((const char *)data, size, why, sizeof why);
    if (!json) return assert(why[0]), 0;
    if (!json_read(str_from(json), &arena, &value, &err)) assert(err.message[0]);
    free(json);
    return 0;
}
