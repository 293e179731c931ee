/* Real servers for tests, started by the scripts of tests/kit: one of each kind a test program,
 * started when it is first asked for and stopped when the program ends. */
#pragma once

/* The first line that `tests/kit/<script> start DIR` printed; the test program ends when it fails.
 * `dir` is where the server keeps its files, its pid in <dir>/pid. Static storage. */
const char *kit_service(const char *script, const char **dir);
/* `tests/kit/<script> <command> DIR`, as of a restart; its first line. */
const char *kit_service_again(const char *script, const char *command);
