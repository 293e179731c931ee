/* Plain C for any CPU. */
#define KERNELS kernels_base
#define NAME "base"
#include "vector/kernels_body.h"
