/* Any bytes as a configuration file: refused with a reason, or opened. */
#include "base/base.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(config_close) Config *config = NULL;
    char path[64];
    Err err = {0};
    int fd = memfd_create("toml", MFD_CLOEXEC);
    assert(fd >= 0 && fd_write(fd, (Bytes){data, size}, &err));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!config_open(path, &config, &err)) assert(err.kind == LH_INVALID && err.message[0]);
    close(fd);
    return 0;
}
