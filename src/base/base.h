/* Everything above the C library that knows nothing of lakehouses. Other modules include this one
 * header; each part below stands alone and says its own rules. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/job.h"
#include "base/journal.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/owned.h"
#include "base/parallel.h"
#include "base/str.h"
#include "base/text.h"
