/* The S3 backend against a real Ceph: the contract, then what a network and a bucket add to it. */
#define CONTRACT_ETAG_OF_BYTES
#include "storage/store_contract.h"

#include "kit/s3.h"

static const KitS3 *ceph(void) {
    return kit_s3("ceph");
}

static Store *contract_store(void) {
    return kit_s3_store(ceph(), "contract");
}
