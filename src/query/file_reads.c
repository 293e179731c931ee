/* Hooks below DuckDB's reads. Its C API registers no file system, but its library reads files by
 * nothing else than open, pread, read and close of the C library, each called through a slot of its
 * own global offset table that the dynamic linker fills in. Those slots are pointed to the
 * functions below, which first have the read cache fetch what is missing of a remote object's file;
 * nobody else in the process is touched. Sizes, seeks and times need no hook, for the file is a
 * real one.
 *
 * A library that lacks a slot which we expect is not what this was written for: no slot is changed,
 * and the cache refuses files that would be read through it. */
#include "query/engine.h"

#include <dlfcn.h>
#include <duckdb.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#define IS_SLOT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#elif defined(__aarch64__)
#define IS_SLOT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#else
#define IS_SLOT(type) false /* of another machine: nothing is found, and so refused */
#endif

#define SLOTS_MAX 32

static int hooked_open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    int fd = open(path, flags, mode);
    if (fd < 0 || cache_opened(path, fd)) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int hooked_close(int fd) {
    cache_closed(fd);
    return close(fd);
}

static ssize_t hooked_pread(int fd, void *buffer, size_t count, off_t offset) {
    if (offset >= 0 && !cache_fill(fd, (uint64_t)offset, count)) return -1;
    return pread(fd, buffer, count, offset);
}

static ssize_t hooked_read(int fd, void *buffer, size_t count) {
    if (cache_has(fd)) {
        off_t offset = lseek(fd, 0, SEEK_CUR);
        if (offset >= 0 && !cache_fill(fd, (uint64_t)offset, count)) return -1;
    }
    return read(fd, buffer, count);
}

/* off_t has 64 bits here, so that both names of a function are the same one. */
typedef struct Hook {
    const char *name, *other_name;
    void *function;
} Hook;

static const Hook hooks[] = {
    {"open",  "open64",  (void *)hooked_open },
    {"close", "close",   (void *)hooked_close},
    {"pread", "pread64", (void *)hooked_pread},
    {"read",  "read",    (void *)hooked_read },
};

/* What reads a file in another way, and would read holes. None of them is imported so far. */
static const char *const strangers[] = {
    "readv", "preadv", "preadv64", "preadv2",    "openat",         "openat64",
    "dup",   "dup2",   "sendfile", "sendfile64", "copy_file_range"};

typedef struct Slot {
    void **at, *function;
} Slot;

typedef struct Library {
    uintptr_t base; /* where the library is */
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * tables[2];
    size_t sizes[2];            /* bytes */
    uintptr_t relro, relro_end; /* what the linker made read-only */
    Slot slots[SLOTS_MAX];
    size_t slot_count;
    bool found[COUNT(hooks)];
    const char *stranger;
} Library;

static void read_dynamic(Library *library, const ElfW(Dyn) * entry) {
    for (; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_SYMTAB:
            library->symbols = (const void *)entry->d_un.d_ptr;
            break;
        case DT_STRTAB:
            library->names = (const void *)entry->d_un.d_ptr;
            break;
        case DT_JMPREL:
            library->tables[0] = (const void *)entry->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            library->sizes[0] = entry->d_un.d_val;
            break;
        case DT_RELA:
            library->tables[1] = (const void *)entry->d_un.d_ptr;
            break;
        case DT_RELASZ:
            library->sizes[1] = entry->d_un.d_val;
            break;
        }
    }
}

static int read_headers(struct dl_phdr_info *info, size_t size, void *context) {
    Library *library = context;
    (void)size;
    if (info->dlpi_addr != library->base) return 0;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC) read_dynamic(library, (const void *)at);
        if (header->p_type != PT_GNU_RELRO) continue;
        library->relro = at & ~(page - 1);
        library->relro_end = (at + header->p_memsz) & ~(page - 1);
    }
    return 1;
}

static void note_name(Library *library, const char *name, void **slot) {
    for (size_t i = 0; i < COUNT(strangers); i++)
        if (strcmp(name, strangers[i]) == 0) library->stranger = strangers[i];
    for (size_t i = 0; i < COUNT(hooks); i++) {
        if (strcmp(name, hooks[i].name) != 0 && strcmp(name, hooks[i].other_name) != 0) continue;
        library->found[i] = true;
        if (library->slot_count < SLOTS_MAX)
            library->slots[library->slot_count] = (Slot){slot, hooks[i].function};
        library->slot_count++;
    }
}

static void find_slots(Library *library) {
    for (int t = 0; t < 2; t++) {
        size_t count = library->tables[t] ? library->sizes[t] / sizeof(ElfW(Rela)) : 0;
        for (size_t i = 0; i < count; i++) {
            const ElfW(Rela) *relocation = &library->tables[t][i];
            if (!IS_SLOT(ELF64_R_TYPE(relocation->r_info))) continue;
            const ElfW(Sym) *symbol = &library->symbols[ELF64_R_SYM(relocation->r_info)];
            if (symbol->st_shndx != SHN_UNDEF) continue; /* its own */
            note_name(library, library->names + symbol->st_name,
                      (void **)(library->base + relocation->r_offset));
        }
    }
}

static bool set_slot(const Library *library, const Slot *slot, Err *err) {
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE), page = (uintptr_t)slot->at & ~(size - 1);
    bool locked = page >= library->relro && page < library->relro_end;
    if (locked && mprotect((void *)page, size, PROT_READ | PROT_WRITE))
        return err_errno(err, "cannot change the SQL engine's library in memory");
    __atomic_store_n(slot->at, slot->function, __ATOMIC_RELEASE);
    if (locked) mprotect((void *)page, size, PROT_READ);
    return true;
}

static bool check_library(const Library *library, Err *err) {
    if (!library->symbols || !library->names)
        return err_set(err, LH_IMPOSSIBLE, "the SQL engine is not in a shared library");
    if (library->stranger)
        return err_set(err, LH_IMPOSSIBLE, "the SQL engine's library also reads by '%s'",
                       library->stranger);
    for (size_t i = 0; i < COUNT(hooks); i++)
        if (!library->found[i])
            return err_set(err, LH_IMPOSSIBLE, "the SQL engine's library has no slot for '%s'",
                           hooks[i].name);
    return library->slot_count <= SLOTS_MAX ||
           err_set(err, LH_IMPOSSIBLE, "the SQL engine's library has more slots than expected");
}

bool file_reads_hook_library(void *function, Err *err) {
    Dl_info where;
    if (!dladdr(function, &where))
        return err_set(err, LH_IMPOSSIBLE, "the SQL engine is not in a shared library");
    Library library = {.base = (uintptr_t)where.dli_fbase};
    dl_iterate_phdr(read_headers, &library);
    if (library.symbols && library.names) find_slots(&library);
    if (!check_library(&library, err)) return false;
    for (size_t i = 0; i < library.slot_count; i++)
        if (!set_slot(&library, &library.slots[i], err)) return false;
    return true;
}

static void hook_once(void) {
    Err err = {0};
    if (file_reads_hook_library((void *)duckdb_open_ext, &err))
        cache_hooked();
    else
        log_error("datasets in remote buckets cannot be read by SQL: %s", err.message);
}

void file_reads_hook(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hook_once);
}
