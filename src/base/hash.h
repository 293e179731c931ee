/* Checksums, hashes and random names. Thread safe. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"

#define UUID_SIZE 37 /* with the NUL */

uint32_t crc32c(uint32_t seed, Bytes data); /* Castagnoli, RFC 3720; seed 0 to start */
uint64_t hash64(Bytes data); /* FNV-1a with a final mix; stable over machines, not for secrets */
uint64_t hash_mix(uint64_t value); /* splitmix64 (Steele, Lea and Flood, 2014): a bijection */
/* The next of a sequence that `*state` begins, the same each time: splitmix64 again. */
uint64_t random_next(uint64_t *state);
uint64_t random_u64(void);             /* from the kernel */
void random_uuid(char out[UUID_SIZE]); /* version 4 */
