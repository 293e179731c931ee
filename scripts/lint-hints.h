/* What the analyzer cannot see from one file: the err_ functions always return false. */
#include "base/err.h"

#define err_set(...) (err_set(__VA_ARGS__), false)
#define err_code(...) (err_code(__VA_ARGS__), false)
#define err_errno(...) (err_errno(__VA_ARGS__), false)
#define err_while(...) (err_while(__VA_ARGS__), false)
