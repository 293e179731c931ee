#define KERNELS kernels_avx512
#define NAME "avx512"
#include "vector/kernels_body.h"
