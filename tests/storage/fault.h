/* System calls that fail on demand: a test program that includes this has every fsync, link,
 * rename, unlink, mkdir, open for writing and write of the code under test pass through here, and
 * the n-th of them fails with EIO. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic int fault_in; /* 0: none; n: the n-th call from now on fails */

static _Atomic bool fault_as_nfs; /* renameat2 takes no flags, as on a network file system */

static bool fault_now(void) {
    int left = fault_in;
    while (left > 0 && !atomic_compare_exchange_weak(&fault_in, &left, left - 1)) continue;
    if (left != 1) return false;
    errno = EIO;
    return true;
}

#define FAULTY __attribute__((visibility("default")))

FAULTY int fsync(int fd) {
    return fault_now() ? -1 : (int)syscall(SYS_fsync, fd);
}
FAULTY int linkat(int from, const char *path, int to, const char *name, int flags) {
    return fault_now() ? -1 : (int)syscall(SYS_linkat, from, path, to, name, flags);
}
FAULTY int renameat(int from, const char *path, int to, const char *name) {
    return fault_now() ? -1 : (int)syscall(SYS_renameat2, from, path, to, name, 0);
}
FAULTY int renameat2(int from, const char *path, int to, const char *name, unsigned flags) {
    if (fault_as_nfs) return errno = EINVAL, -1;
    return fault_now() ? -1 : (int)syscall(SYS_renameat2, from, path, to, name, flags);
}
FAULTY int mkdirat(int folder, const char *path, mode_t mode) {
    return fault_now() ? -1 : (int)syscall(SYS_mkdirat, folder, path, mode);
}
FAULTY int futimens(int fd, const struct timespec times[2]) {
    return fault_now() ? -1 : (int)syscall(SYS_utimensat, fd, NULL, times, 0);
}
FAULTY ssize_t write(int fd, const void *data, size_t size) {
    return fd > 2 && fault_now() ? -1 : syscall(SYS_write, fd, data, size);
}
FAULTY int openat(int folder, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (flags & O_CREAT && fault_now()) return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}
