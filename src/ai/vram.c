/* The GPUs' memory. NVML (nvml.h, API 13) is opened at run time, since most machines have none; its
 * structs are written down here. Without it the driver's own program is asked, for two seconds at
 * most; without that there is nothing to tell, which is an answer too. */
#include "ai/ai.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMI_TIME_MS 2000
#define SMI_SIZE_MAX 16384
#define SMI_REST_MS 30000 /* after it took too long */

/* ---- NVML ---- */

typedef struct NvmlMemory {
    unsigned long long total, free, used;
} NvmlMemory;

typedef struct Nvml {
    int (*init)(void);
    int (*count)(unsigned *count);
    int (*device)(unsigned index, void **device);
    int (*name)(void *device, char *name, unsigned size);
    int (*memory)(void *device, NvmlMemory *memory);
    bool ready;
} Nvml;

static Nvml nvml;
static pthread_once_t nvml_once = PTHREAD_ONCE_INIT;

static void nvml_open(void) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libnvidia-ml.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {
        {"nvmlInit_v2",                   &nvml.init  },
        {"nvmlDeviceGetCount_v2",         &nvml.count },
        {"nvmlDeviceGetHandleByIndex_v2", &nvml.device},
        {"nvmlDeviceGetName",             &nvml.name  },
        {"nvmlDeviceGetMemoryInfo",       &nvml.memory},
    };
    for (size_t i = 0; i < COUNT(symbols); i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) return;
        memcpy(symbols[i].slot, &symbol, sizeof symbol);
    }
    nvml.ready = nvml.init() == 0; /* 9: no driver; 18: another version's. Both: no telemetry */
}

static bool nvml_read(Vram *out) {
    unsigned count = 0;
    pthread_once(&nvml_once, nvml_open);
    if (!nvml.ready || nvml.count(&count) != 0) return false;
    for (unsigned i = 0; i < MIN(count, (unsigned)GPU_COUNT_MAX); i++) {
        Gpu *gpu = &out->gpus[out->count];
        NvmlMemory memory;
        void *device;
        if (nvml.device(i, &device) != 0 || nvml.memory(device, &memory) != 0) continue;
        *gpu = (Gpu){.index = i,
                     .total_bytes = (int64_t)memory.total,
                     .used_bytes = (int64_t)memory.used,
                     .free_bytes = (int64_t)memory.free};
        if (nvml.name(device, gpu->name, sizeof gpu->name) != 0) gpu->name[0] = 0;
        out->count++;
    }
    return out->count > 0;
}

/* ---- nvidia-smi ---- */

static bool smi_start(int *from, pid_t *pid) {
    static char *const argv[] = {"nvidia-smi",
                                 "--query-gpu=index,name,memory.total,memory.used,memory.free",
                                 "--format=csv,noheader,nounits", NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed) close(ends[0]);
    *from = ends[0];
    return !failed;
}

/* All that it says, or nothing when it takes too long. */
static size_t smi_listen(int from, char *out, size_t size) {
    int64_t until = clock_us() + SMI_TIME_MS * 1000;
    size_t len = 0;
    for (;;) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        int64_t left_ms = (until - clock_us()) / 1000;
        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) <= 0) return 0;
        ssize_t got = read(from, out + len, size - len);
        if (got <= 0) return got == 0 ? len : 0;
        len += (size_t)got;
        if (len == size) return 0;
    }
}

static bool mib_field(Str *line, int64_t *out) {
    uint64_t mib;
    if (!str_to_u64(str_trim(str_until(line, ',')), &mib) || mib > (uint64_t)1 << 40) return false;
    *out = (int64_t)(mib << 20);
    return true;
}

static bool smi_line(Str line, Gpu *gpu) {
    uint64_t index;
    *gpu = (Gpu){0};
    if (!str_to_u64(str_trim(str_until(&line, ',')), &index) || index > 1000) return false;
    Str name = str_trim(str_until(&line, ','));
    gpu->index = (int64_t)index;
    snprintf(gpu->name, sizeof gpu->name, "%.*s", SHOW(name));
    return mib_field(&line, &gpu->total_bytes) && mib_field(&line, &gpu->used_bytes) &&
           mib_field(&line, &gpu->free_bytes);
}

static bool smi_read(Vram *out) {
    static atomic_llong rests_until_us; /* a driver that hangs would cost everybody two seconds */
    char text[SMI_SIZE_MAX];
    int from;
    pid_t pid;
    int64_t started = clock_us();
    if (started < atomic_load(&rests_until_us) || !smi_start(&from, &pid)) return false;
    Str said = {text, smi_listen(from, text, sizeof text)};
    close(from);
    kill(pid, SIGKILL); /* has no effect on one that ended */
    waitpid(pid, NULL, 0);
    if (clock_us() - started >= SMI_TIME_MS * 1000)
        atomic_store(&rests_until_us, clock_us() + SMI_REST_MS * 1000);
    while (said.len > 0 && out->count < GPU_COUNT_MAX)
        out->count += smi_line(str_until(&said, '\n'), &out->gpus[out->count]);
    return out->count > 0;
}

void vram_read(Vram *out) {
    *out = (Vram){.source = "none"};
    if (nvml_read(out))
        out->source = "nvml";
    else if (smi_read(out))
        out->source = "nvidia-smi";
}
