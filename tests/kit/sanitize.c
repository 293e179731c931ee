/* libduckdb is not built with the sanitizers, so that ThreadSanitizer sees its locks and not its
 * atomics: what it reports inside that library says nothing. */
__attribute__((visibility("default"), used)) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:libduckdb.so\nmutex:libduckdb.so\ndeadlock:libduckdb.so\nthread:libduckdb.so\n";
}
