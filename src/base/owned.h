/* Scope-bound ownership. A close function takes the variable's address, accepts an empty one and
 * leaves it empty, so that OWNED(x_close) runs it on every way out of a scope and TAKE hands the
 * value to the caller instead. */
#pragma once

#define OWNED(close) __attribute__((cleanup(close)))
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
