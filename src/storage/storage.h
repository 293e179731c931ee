/* Buckets of objects: bytes under keys. Other modules include this one header. */
#pragma once

#include "storage/bucket.h"
#include "storage/errors.h"
#include "storage/read_cache.h"
#include "storage/secrets.h"
#include "storage/store.h"
