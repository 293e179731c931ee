/* The test kit: a test is a claim in plain words and a body that checks it.
 *
 *     TEST("a key with a dot-dot segment is refused") { CHECK(!key_check(STR("a/../b"), &err)); }
 *
 * A failed CHECK prints the place and ends that test; the others go on. Each test file is a program
 * of its own that prints one line per test and exits 1 when one failed. */
#pragma once

#include "base/base.h"

#include <stdio.h>
#include <string.h>

#define TEST(claim) TEST_AT(claim, __COUNTER__)
#define TEST_AT(claim, n) TEST_NAMED(claim, n)
#define TEST_NAMED(claim, n)                                                                       \
    static void test_##n(void);                                                                    \
    __attribute__((constructor)) static void test_add_##n(void) {                                  \
        kit_add(claim, test_##n);                                                                  \
    }                                                                                              \
    static void test_##n(void)

#define CHECK(condition) ((condition) ? (void)0 : kit_fail(__FILE__, __LINE__, "%s", #condition))
/* For calls that take `&err`: prints err.message when the call failed. */
#define CHECK_OK(call)                                                                             \
    ((call) ? (void)0 : kit_fail(__FILE__, __LINE__, "%s: %s", #call, err.message))
#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        Str a_ = (actual), e_ = str_from(expected);                                                \
        if (!str_equal(a_, e_))                                                                    \
            kit_fail(__FILE__, __LINE__, "%s is '%.*s', not '%.*s'", #actual, SHOW(a_), SHOW(e_)); \
    } while (0)
#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        long long a_ = (long long)(actual), e_ = (long long)(expected);                            \
        if (a_ != e_) kit_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #actual, a_, e_);       \
    } while (0)

void kit_add(const char *claim, void (*run)(void));
void kit_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
/* A fresh directory, removed with all in it when the program ends. Static storage per call. */
const char *kit_dir(void);
/* `lakehouse serve` on a free port with its data in `dir`; ends with kit_server_stop. */
typedef struct KitServer {
    int pid;
    char url[64];
} KitServer;
bool kit_server_start(const char *dir, KitServer *out, Err *err);
void kit_server_stop(KitServer *server, int signal_number); /* waits for it */

/* Runs `work` in a child of its own, which acknowledges each step with a record of `size` bytes,
 * and kills it at a random moment within `within_us` of the first. The records, oldest first, stay
 * until the next call. */
const void *kit_kill(void (*work)(void *context), void *context, unsigned within_us, size_t size,
                     size_t *count);
void kit_acknowledge(const void *record, size_t size);
int kit_kills(int usual); /* how often to do that: CRASH_KILLS, where it is set */
