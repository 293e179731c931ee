/* Vectors of 128 bits, which every CPU of today has in one form or another. */
#include "lance/pq_kernels.h"

#define LANES 4
#define TILE_ROWS 4
#define TILE_VECTORS 2

typedef float Floats __attribute__((vector_size(16), may_alias));
typedef int32_t Numbers __attribute__((vector_size(16), may_alias));
typedef float LooseFloats __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t LooseNumbers __attribute__((vector_size(16), aligned(4), may_alias));

static inline Floats floats_load(const float *from) {
    return *(const LooseFloats *)from;
}
static inline void floats_store(float *to, Floats x) {
    *(LooseFloats *)to = x;
}
static inline Floats floats_all(float x) {
    return (Floats){x, x, x, x};
}
static inline Numbers numbers_load(const uint32_t *from) {
    return *(const LooseNumbers *)from;
}
static inline void numbers_store(uint32_t *to, Numbers x) {
    *(LooseNumbers *)to = x;
}
static inline Floats multiply_add(Floats a, Floats b, Floats c) {
    return a * b + c;
}
static inline float sum(Floats x) {
    return x[0] + x[1] + x[2] + x[3];
}
static inline void lower(Floats a, uint32_t n, Floats *best, Numbers *number) {
    Numbers less = a < *best, fresh = {(int32_t)n, (int32_t)n, (int32_t)n, (int32_t)n};
    *best = (Floats)((less & (Numbers)a) | (~less & (Numbers)*best));
    *number = (less & fresh) | (~less & *number);
}

#define KERNELS pq_kernels_base
#define NAME "base"
#include "lance/pq_kernels_body.h"
