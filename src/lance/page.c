/* A page's buffers, as ranges of its file. */
#include "lance/page.h"

bool page_bytes(const Page *page, uint64_t buffer, uint64_t from, uint64_t size, Arena *arena,
                Bytes *out, Err *err) {
    if (buffer >= page->buffer_count)
        return err_set(err, LH_CORRUPT, "a page of %zu buffers is said to have a buffer %llu",
                       page->buffer_count, (unsigned long long)buffer);
    if (from > page->sizes[buffer] || size > page->sizes[buffer] - from)
        return err_set(err, LH_CORRUPT,
                       "bytes %llu to %llu of a page's buffer of %llu are not there",
                       (unsigned long long)from, (unsigned long long)(from + size),
                       (unsigned long long)page->sizes[buffer]);
    if (size > LANCE_BUFFER_MAX)
        return err_set(err, LH_TOO_BIG, "%llu bytes of a page are more than %u at once",
                       (unsigned long long)size, LANCE_BUFFER_MAX);
    return source_read(page->source, page->offsets[buffer] + from, size, arena, out, err);
}

bool page_buffer(const Page *page, uint64_t buffer, Arena *arena, Bytes *out, Err *err) {
    uint64_t size = buffer < page->buffer_count ? page->sizes[buffer] : 0;
    return page_bytes(page, buffer, 0, size, arena, out, err);
}
