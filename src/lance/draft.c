/* The next version, while it is made: lists of the latest one's manifest with a few entries
 * changed. Lists are copied when they change; entries are shared. */
#include "lance/commit.h"
#include "lance/wire.h"

#include <string.h>

/* The list is full at each power of two. */
static void key_add(Str **keys, size_t *count, Str key, Arena *arena) {
    if ((*count & (*count - 1)) == 0) {
        Str *grown = arena_array(arena, Str, MAX(*count * 2, 1));
        if (*count) memcpy(grown, *keys, *count * sizeof *grown);
        *keys = grown;
    }
    (*keys)[(*count)++] = key;
}

static void after_add(Draft *draft, Str key) {
    key_add(&draft->after, &draft->after_count, key, draft->arena);
}

void draft_made(Draft *draft, Str key) {
    Str copy = arena_copy(draft->arena, key);
    key_add(&draft->made, &draft->made_count, copy, draft->arena);
    after_add(draft, copy);
}

/* A copy of the list with room for `more`. */
static void fragments_own(Draft *draft, size_t more) {
    Manifest *next = &draft->next;
    Fragment *copy = arena_array(draft->arena, Fragment, next->fragment_count + more);
    if (next->fragment_count) memcpy(copy, next->fragments, next->fragment_count * sizeof *copy);
    next->fragments = copy;
}

void draft_add_fragments(Draft *draft, Fragment *fragments, size_t count) {
    Manifest *next = &draft->next;
    fragments_own(draft, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t id = next->has_fragment_id ? (uint64_t)next->fragment_id_max + 1 : 0;
        fragment_renumber(&fragments[i], id, draft->arena);
        next->fragments[next->fragment_count++] = fragments[i];
        next->fragment_id_max = (uint32_t)id;
        next->has_fragment_id = true;
        for (size_t k = 0; k < fragments[i].file_count; k++)
            after_add(draft, data_key(draft->path, fragments[i].files[k].path, draft->arena));
    }
}

static size_t fragment_place(Draft *draft, uint64_t id) {
    const Fragment *found = manifest_fragment(&draft->next, id);
    return found ? (size_t)(found - draft->next.fragments) : draft->next.fragment_count;
}

void draft_replace_fragment(Draft *draft, const Fragment *fragment) {
    size_t at = fragment_place(draft, fragment->id);
    if (at == draft->next.fragment_count) return;
    fragments_own(draft, 0);
    draft->next.fragments[at] = *fragment;
}

void draft_remove_fragment(Draft *draft, uint64_t id) {
    Manifest *next = &draft->next;
    size_t at = fragment_place(draft, id);
    if (at == next->fragment_count) return;
    fragments_own(draft, 0);
    memmove(&next->fragments[at], &next->fragments[at + 1],
            (next->fragment_count - at - 1) * sizeof *next->fragments);
    next->fragment_count--;
}

void draft_add_index(Draft *draft, const LanceIndex *index) {
    Manifest *next = &draft->next;
    LanceIndex *copy = arena_array(draft->arena, LanceIndex, next->index_count + 1);
    if (next->index_count) memcpy(copy, next->indexes, next->index_count * sizeof *copy);
    copy[next->index_count++] = *index;
    next->indexes = copy;
    for (size_t i = 0; i < index->file_count; i++)
        after_add(draft, index_key(draft->path, index->uuid, index->files[i].path, draft->arena));
}

void draft_remove_index(Draft *draft, const uint8_t uuid[LANCE_UUID_BYTES]) {
    Manifest *next = &draft->next;
    LanceIndex *copy = arena_array(draft->arena, LanceIndex, next->index_count);
    size_t kept = 0;
    for (size_t i = 0; i < next->index_count; i++)
        if (memcmp(next->indexes[i].uuid, uuid, LANCE_UUID_BYTES) != 0)
            copy[kept++] = next->indexes[i];
    next->indexes = copy;
    next->index_count = kept;
}

bool draft_touch(Draft *draft, const char *change, const Fragment *then, const Fragment **out,
                 Err *err) {
    const Fragment *now = manifest_fragment(&draft->next, then->id);
    if (now && fragment_same_files(then, now)) return *out = now, true;
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "%s: fragment %llu was %s meanwhile: look at the table again", change,
                    (unsigned long long)then->id, now ? "rewritten" : "removed");
}
