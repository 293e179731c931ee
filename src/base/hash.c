#include "base/hash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

/* Slicing by 8 (Kounavis and Berry, 2005), polynomial 0x1EDC6F41 reflected. */
static void crc_fill(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        crc_table[0][i] = crc;
    }
    for (int t = 1; t < 8; t++)
        for (uint32_t i = 0; i < 256; i++)
            crc_table[t][i] = (crc_table[t - 1][i] >> 8) ^ crc_table[0][crc_table[t - 1][i] & 255];
}

uint32_t crc32c(uint32_t seed, Bytes data) {
    pthread_once(&crc_once, crc_fill);
    uint32_t crc = ~seed;
    const uint8_t *p = data.data;
    size_t left = data.size;
    for (; left >= 8; left -= 8, p += 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^
              crc_table[5][low >> 16 & 255] ^ crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^
              crc_table[2][high >> 8 & 255] ^ crc_table[1][high >> 16 & 255] ^
              crc_table[0][high >> 24];
    }
    while (left--) crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 255];
    return ~crc;
}

uint64_t hash64(Bytes data) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < data.size; i++) hash = (hash ^ data.data[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ hash >> 32;
}

#define GOLDEN 0x9e3779b97f4a7c15u

uint64_t hash_mix(uint64_t value) {
    value += GOLDEN;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint64_t random_next(uint64_t *state) {
    uint64_t value = hash_mix(*state);
    *state += GOLDEN;
    return value;
}

uint64_t random_u64(void) {
    uint64_t value;
    if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
    return value;
}

void random_uuid(char out[UUID_SIZE]) {
    uint64_t a = random_u64(), b = random_u64();
    snprintf(out, UUID_SIZE, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
             (unsigned)((b >> 48 & 0x3fff) | 0x8000), (unsigned long long)(b & 0xffffffffffffu));
}
