/* Memory for the inner loops. Thread safe. */
#pragma once

#include <stddef.h>

/* At a multiple of 64 bytes, to the next multiple of 64, not cleared; free() frees it. What is
 * large is asked for in huge pages, of which a CPU remembers more at once. Ends the program where
 * there is none. */
void *memory_aligned(size_t size);
