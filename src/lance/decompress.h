/* General compression inside Lance files: zstd frames, LZ4 blocks and LZ4 frames, each to a length
 * that is told and checked. Thread safe. Internal to lance. */
#pragma once

#include "base/base.h"

#define DECOMPRESSED_MAX (256u << 20)

/* Into the arena; LH_CORRUPT when it does not decompress to exactly `size` bytes. */
bool zstd_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err);
bool lz4_block_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err);
bool lz4_frame_expand(Bytes data, uint64_t size, Arena *arena, Bytes *out, Err *err);
