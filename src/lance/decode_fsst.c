/* FSST: each byte of a compressed text stands for a symbol of 1 to 8 bytes, 255 for the byte that
 * follows it. The table is a u64 of magic, activity and count, then 8 bytes a symbol, then their
 * lengths. */
#include "lance/codec.h"

#include <string.h>

#define MAGIC 0x46535354u
#define ESCAPE 255
#define SYMBOL_SIZE 8

bool fsst_table(Bytes table, FsstTable *out, Err *err) {
    uint64_t head;
    if (table.size < sizeof head)
        return err_set(err, LH_CORRUPT, "a table of symbols ends too early");
    memcpy(&head, table.data, sizeof head);
    uint32_t count = head & 255;
    if (head >> 32 != MAGIC || table.size < sizeof head + (size_t)count * (SYMBOL_SIZE + 1))
        return err_set(err, LH_CORRUPT, "a table of symbols is not one of FSST");
    FsstTable read = {.active = head >> 24 & 1,
                      .count = count,
                      .symbols = table.data + sizeof head,
                      .lengths = table.data + sizeof head + (size_t)count * SYMBOL_SIZE};
    for (uint32_t i = 0; i < count; i++)
        if (read.lengths[i] < 1 || read.lengths[i] > SYMBOL_SIZE)
            return err_set(err, LH_CORRUPT, "a symbol has %u bytes", read.lengths[i]);
    *out = read;
    return true;
}

bool fsst_expand(const FsstTable *table, Bytes data, uint8_t *out, size_t *size, Err *err) {
    uint8_t *at = out;
    for (size_t i = 0; i < data.size; i++) {
        uint8_t code = data.data[i];
        if (code == ESCAPE) {
            if (++i == data.size)
                return err_set(err, LH_CORRUPT, "a compressed text ends in an escape");
            *at++ = data.data[i];
        } else if (code < table->count) {
            memcpy(at, table->symbols + (size_t)code * SYMBOL_SIZE, table->lengths[code]);
            at += table->lengths[code];
        } else {
            return err_set(err, LH_CORRUPT, "symbol %u of a table of %u", code, table->count);
        }
    }
    *size = (size_t)(at - out);
    return true;
}
