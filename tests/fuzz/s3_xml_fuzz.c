/* Any bytes as an S3 server's answer: what is taken keeps to its bounds and can be used again. */
#include "base/base.h"
#include "storage/s3_xml.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    Bytes bytes = {data, size};
    char etag[STORE_ETAG_SIZE], again[STORE_ETAG_SIZE];
    S3Error error;
    S3Page page;
    Str id;
    Err err = {0};
    s3_xml_error(bytes, &error);
    assert(strlen(error.code) < sizeof error.code && strlen(error.region) < sizeof error.region);
    if (s3_xml_list(bytes, 20, &arena, &page, &err)) {
        assert(page.object_count <= 20 && page.prefix_count <= 20);
        for (size_t i = 0; i < page.object_count; i++) {
            Str key = page.objects[i].key;
            assert(key.len <= size && (key.len == 0 || !memchr(key.data, 0, key.len)));
            assert(strlen(page.objects[i].info.etag) < STORE_ETAG_SIZE);
        }
    }
    S3UploadEntry *uploads;
    size_t count;
    if (s3_xml_uploads(bytes, 20, &arena, &uploads, &count, &err)) assert(count <= 20);
    if (s3_xml_upload_id(bytes, &arena, &id, &err)) assert(id.len > 0 && id.len <= size);
    if (s3_xml_etag(bytes, etag)) assert(s3_etag(str_from(etag), again) && !strcmp(etag, again));
    if (s3_etag(str_of(bytes), etag)) assert(!strpbrk(etag, " \"\r\n"));
    return 0;
}
