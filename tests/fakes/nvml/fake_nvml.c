/* A stand-in for the driver's libnvidia-ml.so.1.
 *
 * It shows the rig written in the text file named by SPLITRIG_FAKE_NVML and reads the file again
 * whenever it changes, so a test can lose a card or break the driver while a program runs.
 *
 * One statement a line, '#' starts a comment:
 *   driver TEXT            driver version
 *   init CODE              nvmlInit answers with this error
 *   call NAME CODE         this function answers with this error, on every card
 *   slow_ms NUMBER         every call on a card takes this long; a huge number hangs
 *   card NAME              begins a card; the statements below belong to the card above them
 *   error NAME CODE        this function answers with this error on this card
 *   lost                   nothing answers any more for this card
 *   uuid pci device_id total_mib used_mib reserved_mib load power_mw limit_mw default_mw
 *   temperature fan sm_mhz memory_mhz max_memory_mhz bus_bits gen lanes reasons arch major minor
 *   max_gen max_lanes      of card and slot together
 *   own_gen                of the card alone
 *   process PID MIB        a program that computes on this card
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, LOST = 15 };
enum { MAX_CARDS = 32, MAX_ERRORS = 32, MAX_PROCESSES = 16, TEXT = 96 };
enum { INSUFFICIENT_SIZE = 7 };

typedef struct { char name[TEXT]; int code; } Fault;
typedef struct { unsigned pid; unsigned long mib; } Program;

typedef struct {
    char name[TEXT], uuid[TEXT], pci[32];
    unsigned long device_id, total_mib, used_mib, reserved_mib, load, power_mw, limit_mw, default_mw;
    unsigned long temperature, fan, sm_mhz, memory_mhz, max_memory_mhz, bus_bits;
    unsigned long gen, lanes, max_gen, max_lanes, own_gen, reasons, arch, major, minor;
    int lost, n_faults, n_programs;
    Fault faults[MAX_ERRORS];
    Program programs[MAX_PROCESSES];
} Card;

static struct {
    char driver[TEXT];
    int init, n_cards, n_faults;
    unsigned long slow_ms;
    Fault faults[MAX_ERRORS];
    Card cards[MAX_CARDS];
} rig;
static struct stat last;
static int started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void add_fault(Fault *faults, int *n, const char *rest)
{
    if (*n < MAX_ERRORS && sscanf(rest, "%95s %d", faults[*n].name, &faults[*n].code) == 2)
        ++*n;
}

static int set_number(Card *card, const char *key, const char *rest)
{
    const struct { const char *key; size_t at; } fields[] = {
#define F(x) { #x, offsetof(Card, x) }
        F(device_id), F(total_mib), F(used_mib), F(reserved_mib), F(load), F(power_mw), F(limit_mw),
        F(default_mw), F(temperature), F(fan), F(sm_mhz), F(memory_mhz), F(max_memory_mhz),
        F(bus_bits), F(gen), F(lanes), F(max_gen), F(max_lanes), F(own_gen), F(reasons),
        F(arch), F(major), F(minor),
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(key, fields[i].key)) {
            *(unsigned long *)((char *)card + fields[i].at) = strtoul(rest, NULL, 0);
            return 1;
        }
    return 0;
}

static void statement(char *line)
{
    char *rest = line + strcspn(line, " \t");
    if (*rest) *rest++ = 0;
    rest += strspn(rest, " \t");
    Card *card = rig.n_cards ? &rig.cards[rig.n_cards - 1] : NULL;
    if (!strcmp(line, "driver")) snprintf(rig.driver, TEXT, "%s", rest);
    else if (!strcmp(line, "init")) rig.init = atoi(rest);
    else if (!strcmp(line, "slow_ms")) rig.slow_ms = strtoul(rest, NULL, 0);
    else if (!strcmp(line, "call")) add_fault(rig.faults, &rig.n_faults, rest);
    else if (!strcmp(line, "card") && rig.n_cards < MAX_CARDS)
        snprintf(rig.cards[rig.n_cards++].name, TEXT, "%s", rest);
    else if (!card) fprintf(stderr, "fake_nvml: '%s' before the first card\n", line);
    else if (!strcmp(line, "uuid")) snprintf(card->uuid, TEXT, "%s", rest);
    else if (!strcmp(line, "pci")) snprintf(card->pci, sizeof card->pci, "%s", rest);
    else if (!strcmp(line, "lost")) card->lost = 1;
    else if (!strcmp(line, "process") && card->n_programs < MAX_PROCESSES) {
        Program *program = &card->programs[card->n_programs];
        if (sscanf(rest, "%u %lu", &program->pid, &program->mib) == 2) card->n_programs++;
    }
    else if (!strcmp(line, "error")) add_fault(card->faults, &card->n_faults, rest);
    else if (!set_number(card, line, rest)) fprintf(stderr, "fake_nvml: unknown '%s'\n", line);
}

/* Called with the lock held. */
static void refresh(void)
{
    const char *path = getenv("SPLITRIG_FAKE_NVML");
    struct stat now;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file || fstat(fileno(file), &now)) {
        if (file) fclose(file);
        memset(&rig, 0, sizeof rig);
        memset(&last, 0, sizeof last);
        rig.init = DRIVER_NOT_LOADED;
        return;
    }
    if (now.st_ino != last.st_ino || now.st_size != last.st_size ||
        memcmp(&now.st_mtim, &last.st_mtim, sizeof now.st_mtim)) {
        char line[256];
        last = now;
        memset(&rig, 0, sizeof rig);
        while (fgets(line, sizeof line, file)) {
            line[strcspn(line, "#\n")] = 0;
            for (size_t n = strlen(line); n && line[n - 1] == ' ';) line[--n] = 0;
            if (*line) statement(line);
        }
    }
    fclose(file);
}

static int fault(const Fault *faults, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(faults[i].name, name)) return faults[i].code;
    return OK;
}

/* What the driver as a whole answers to this function. */
static int system_state(const char *name)
{
    pthread_mutex_lock(&lock);
    refresh();
    int code = rig.init ? rig.init : !started ? UNINITIALIZED : fault(rig.faults, rig.n_faults, name);
    pthread_mutex_unlock(&lock);
    return code;
}

/* Copies the card behind a handle, so that the file may change meanwhile. */
static int take(const char *name, void *handle, Card *card)
{
    uintptr_t number = (uintptr_t)handle;
    int code = system_state(name);
    if (code) return code;
    pthread_mutex_lock(&lock);
    unsigned long slow_ms = rig.slow_ms;
    if (number < 1 || number > (uintptr_t)rig.n_cards) code = LOST;
    else *card = rig.cards[number - 1];
    pthread_mutex_unlock(&lock);
    if (slow_ms) {
        struct timespec pause = { (time_t)(slow_ms / 1000), (long)(slow_ms % 1000) * 1000000 };
        nanosleep(&pause, NULL);
    }
    if (code) return code;
    return card->lost ? LOST : fault(card->faults, card->n_faults, name);
}

static int start(void)
{
    pthread_mutex_lock(&lock);
    refresh();
    int code = rig.init;
    if (!code) started++;
    pthread_mutex_unlock(&lock);
    return code;
}

int nvmlInit_v2(void) { return start(); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return start(); }

int nvmlShutdown(void)
{
    pthread_mutex_lock(&lock);
    int code = started ? OK : UNINITIALIZED;
    if (started) started--;
    pthread_mutex_unlock(&lock);
    return code;
}

const char *nvmlErrorString(int code) { (void)code; return "an error of the fake driver"; }

int nvmlSystemGetDriverVersion(char *out, unsigned length)
{
    int code = system_state(__func__);
    if (!code) snprintf(out, length, "%s", rig.driver);
    return code;
}

int nvmlSystemGetNVMLVersion(char *out, unsigned length)
{
    int code = system_state(__func__);
    if (!code) snprintf(out, length, "13.%s", rig.driver);
    return code;
}

int nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    int code = system_state(__func__);
    if (!code) *out = 13000;
    return code;
}

int nvmlDeviceGetCount_v2(unsigned *out)
{
    int code = system_state(__func__);
    if (!code) *out = (unsigned)rig.n_cards;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out)
{
    Card card;
    void *handle = (void *)(uintptr_t)(index + 1);
    if (index >= (unsigned)rig.n_cards) return INVALID;
    int code = take(__func__, handle, &card);
    if (!code) *out = handle;
    return code;
}

#define TEXT_CALL(call, field)                                    \
    int call(void *handle, char *out, unsigned length)            \
    {                                                             \
        Card card;                                                \
        int code = take(__func__, handle, &card);                 \
        if (!code) snprintf(out, length, "%s", card.field);       \
        return code;                                              \
    }
TEXT_CALL(nvmlDeviceGetName, name)
TEXT_CALL(nvmlDeviceGetUUID, uuid)

#define NUMBER_CALL(call, field)                                  \
    int call(void *handle, unsigned *out)                         \
    {                                                             \
        Card card;                                                \
        int code = take(__func__, handle, &card);                 \
        if (!code) *out = (unsigned)card.field;                   \
        return code;                                              \
    }
NUMBER_CALL(nvmlDeviceGetPowerUsage, power_mw)
NUMBER_CALL(nvmlDeviceGetEnforcedPowerLimit, limit_mw)
NUMBER_CALL(nvmlDeviceGetPowerManagementLimit, limit_mw)
NUMBER_CALL(nvmlDeviceGetPowerManagementDefaultLimit, default_mw)
NUMBER_CALL(nvmlDeviceGetFanSpeed, fan)
NUMBER_CALL(nvmlDeviceGetMemoryBusWidth, bus_bits)
NUMBER_CALL(nvmlDeviceGetArchitecture, arch)
NUMBER_CALL(nvmlDeviceGetCurrPcieLinkGeneration, gen)
NUMBER_CALL(nvmlDeviceGetCurrPcieLinkWidth, lanes)
NUMBER_CALL(nvmlDeviceGetMaxPcieLinkGeneration, max_gen)
NUMBER_CALL(nvmlDeviceGetMaxPcieLinkWidth, max_lanes)
NUMBER_CALL(nvmlDeviceGetGpuMaxPcieLinkGeneration, own_gen)

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (!code) *out = (unsigned)card.temperature;
    return sensor ? NOT_SUPPORTED : code;
}

static int clock_of(const char *name, void *handle, int type, unsigned long sm, unsigned *out)
{
    Card card;
    int code = take(name, handle, &card);
    if (code) return code;
    if (type == 2) *out = (unsigned)(sm ? card.max_memory_mhz : card.memory_mhz);
    else *out = (unsigned)card.sm_mhz;
    return OK;
}

int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *out)
{
    return clock_of(__func__, handle, type, 0, out);
}

int nvmlDeviceGetMaxClockInfo(void *handle, int type, unsigned *out)
{
    return clock_of(__func__, handle, type, 1, out);
}

static int reasons_of(const char *name, void *handle, unsigned long long *out)
{
    Card card;
    int code = take(name, handle, &card);
    if (!code) *out = card.reasons;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *out)
{
    return reasons_of(__func__, handle, out);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *out)
{
    return reasons_of(__func__, handle, out);
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (!code) *major = (int)card.major, *minor = (int)card.minor;
    return code;
}

struct utilization { unsigned gpu, memory; };

int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (!code) out->gpu = (unsigned)card.load, out->memory = (unsigned)card.load / 2;
    return code;
}

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

static unsigned long long mib(unsigned long n) { return (unsigned long long)n << 20; }

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (code) return code;
    out->total = mib(card.total_mib);
    out->used = mib(card.used_mib + card.reserved_mib);
    out->free = out->total - out->used;
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (code) return code;
    if (out->version != 0x02000028) return 25;
    out->total = mib(card.total_mib);
    out->reserved = mib(card.reserved_mib);
    out->used = mib(card.used_mib);
    out->free = out->total - out->used - out->reserved;
    return OK;
}

struct process { unsigned pid; unsigned long long used; unsigned instance, compute_instance; };

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (code) return code;
    unsigned room = *count;
    *count = (unsigned)card.n_programs;
    if (room < *count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++)
        out[i] = (struct process){ card.programs[i].pid, mib(card.programs[i].mib), ~0u, ~0u };
    return OK;
}

struct pci {
    char legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *out)
{
    Card card;
    int code = take(__func__, handle, &card);
    if (code) return code;
    memset(out, 0, sizeof *out);
    snprintf(out->bus_id, sizeof out->bus_id, "%s", card.pci);
    sscanf(card.pci, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.0", out->domain & 0xffff,
             out->bus & 0xff, out->device & 0xff);
    out->pci_device_id = (unsigned)card.device_id << 16 | 0x10de;
    return OK;
}
