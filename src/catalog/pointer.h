/* The commit point of a table: numbered objects <table>/pointer/<20 digits>, each created once with
 * if_absent. The newest names the current metadata document, relative to the table, or says that
 * the table was dropped. They are never removed: whoever knows an old number can always find the
 * newest, and can never take a number twice. Internal to catalog. */
#pragma once

#include "storage/storage.h"

#define POINTER_BODY_MAX 4096

/* The newest number, going up from one that is known to exist (0: none); 0 when there is none. */
bool pointer_latest(Store *store, Str table_key, int64_t known, int64_t *out, Err *err);
/* Empty: dropped. */
bool pointer_read(Store *store, Str table_key, int64_t number, Arena *arena, Str *metadata,
                  Err *err);

typedef enum PointerResult {
    POINTER_WON,
    POINTER_LOST,    /* somebody else has that number */
    POINTER_FAILED,  /* surely not written; err says why */
    POINTER_UNKNOWN, /* maybe written; err says why: nothing may be deleted */
} PointerResult;
PointerResult pointer_swap(Store *store, Str table_key, int64_t number, Str metadata, Err *err);
