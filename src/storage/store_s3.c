#include "storage/store_s3.h"

const S3Limits s3_limits_default = {8 << 20, 4, 3000, 10000, 10000, 15000};

bool store_s3_check(const S3Options *options, Err *err) {
    if (options->bucket.len == 0 || options->endpoint.len == 0)
        return err_code(err, LH_INVALID, "bad_bucket",
                        "an s3 bucket needs a 'bucket' and an 'endpoint'");
    return true;
}

bool store_s3_open(const S3Options *options, Store **out, Err *err) {
    (void)out;
    return store_s3_check(options, err) && err_set(err, LH_OFFLINE, "not built yet");
}
