import type { Kernel } from "../ir/types.ts";

const RUNTIME = `#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// A team of threads that run the same program. Every thread walks the same table of steps, splits each step by its
// thread number and meets the others at barriers, which spin briefly and then sleep.
struct team {
  int32_t threads;
  pthread_t *workers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  atomic_int arrived;
  atomic_int generation;
  atomic_int sleepers;
  const struct step *steps;
  int32_t count;
  const int32_t *cancel;
  uint64_t *times;
  int32_t stop[2];  // whether to stop, of even and odd barriers
  int32_t quit;
};

struct step {
  int32_t kernel;
  int32_t flags;  // 1: barrier after the step
  uint64_t arguments;
};

struct worker {
  struct team *team;
  int32_t thread;
};

typedef void kernel(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team);

#if defined(__x86_64__) || defined(__i386__)
#define relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() ((void)0)
#endif

enum { SPINS = 4000 };  // some 50 to 100 microseconds

void team_barrier(struct team *team) {
  if (team->threads == 1) return;
  const int generation = atomic_load(&team->generation);
  if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
    atomic_store(&team->arrived, 0);
    atomic_store(&team->generation, generation + 1);
    if (atomic_load(&team->sleepers) > 0) {
      pthread_mutex_lock(&team->lock);
      pthread_cond_broadcast(&team->wake);
      pthread_mutex_unlock(&team->lock);
    }
    return;
  }
  for (int spin = 0; spin < SPINS; spin++) {
    if (atomic_load_explicit(&team->generation, memory_order_acquire) != generation) return;
    relax();
  }
  pthread_mutex_lock(&team->lock);
  atomic_fetch_add(&team->sleepers, 1);
  while (atomic_load(&team->generation) == generation) pthread_cond_wait(&team->wake, &team->lock);
  atomic_fetch_sub(&team->sleepers, 1);
  pthread_mutex_unlock(&team->lock);
}

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Runs the steps; returns how many were done before the cancel word was seen.
static int32_t walk(struct team *team, int32_t thread) {
  int32_t barriers = 0;
  for (int32_t i = 0; i < team->count; i++) {
    const struct step *step = &team->steps[i];
    kernels[step->kernel]((const uint64_t *)step->arguments, thread, team->threads, team);
    if (!(step->flags & 1)) continue;
    if (thread == 0) team->stop[barriers & 1] = __atomic_load_n(team->cancel, __ATOMIC_RELAXED);
    team_barrier(team);
    if (thread == 0 && team->times) team->times[i] = nanoseconds();
    if (team->stop[barriers++ & 1]) return i + 1;
  }
  team_barrier(team);
  return team->count;
}

static void *work(void *argument) {
  struct worker self = *(struct worker *)argument;
  free(argument);
  for (;;) {
    team_barrier(self.team);
    if (self.team->quit) return NULL;
    walk(self.team, self.thread);
  }
}

struct team *qigen_team_create(int32_t threads) {
  struct team *team = calloc(1, sizeof *team);
  if (!team) return NULL;
  team->threads = threads;
  team->workers = calloc((size_t)threads, sizeof *team->workers);
  pthread_mutex_init(&team->lock, NULL);
  pthread_cond_init(&team->wake, NULL);
  for (int32_t thread = 1; thread < threads; thread++) {
    struct worker *worker = malloc(sizeof *worker);
    worker->team = team;
    worker->thread = thread;
    if (pthread_create(&team->workers[thread], NULL, work, worker) != 0) return NULL;
  }
  return team;
}

void qigen_team_destroy(struct team *team) {
  team->quit = 1;
  team_barrier(team);
  for (int32_t thread = 1; thread < team->threads; thread++) pthread_join(team->workers[thread], NULL);
  pthread_mutex_destroy(&team->lock);
  pthread_cond_destroy(&team->wake);
  free(team->workers);
  free(team);
}

int32_t qigen_run(struct team *team, const struct step *steps, int32_t count, const int32_t *cancel, uint64_t *times) {
  team->steps = steps;
  team->count = count;
  team->cancel = cancel;
  team->times = times;
  team_barrier(team);
  return walk(team, 0);
}

// Zeroed memory of whole pages, on huge pages where the system grants them; NULL if there is not enough.
void *qigen_allocate(uint64_t bytes, int32_t huge) {
  const uint64_t page = 2u << 20;
  if (huge) bytes = (bytes + page - 1) & ~(page - 1);
  // Huge pages need 2 MiB alignment: map more, then give the ends back.
  char *memory = mmap(NULL, bytes + (huge ? page : 0), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  if (!huge) return memory;
  char *aligned = (char *)(((uintptr_t)memory + page - 1) & ~(uintptr_t)(page - 1));
  if (aligned > memory) munmap(memory, (size_t)(aligned - memory));
  const size_t rest = page - (size_t)(aligned - memory);
  if (rest > 0) munmap(aligned + bytes, rest);
#ifdef MADV_HUGEPAGE
  madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
  return aligned;
}

void qigen_release(void *memory, uint64_t bytes, int32_t huge) {
  const uint64_t page = 2u << 20;
  if (huge) bytes = (bytes + page - 1) & ~(page - 1);
  munmap(memory, bytes);
}

// A read-only, shared mapping of a whole file; NULL if it cannot be mapped.
void *qigen_map_file(const char *path, uint64_t bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return NULL;
  void *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return NULL;
  madvise(memory, bytes, MADV_WILLNEED);
  return memory;
}
`;

/** The C unit that drives the kernels: thread team, barrier, step table walk, memory. `kernels` fixes their numbers. */
export function emitRuntime(kernels: readonly Kernel[]): string {
  const [includes, rest] = splitAt(RUNTIME, "\ntypedef void kernel(");
  const declarations = kernels.map(
    ({ name }) =>
      `void ${name}(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team);`,
  );
  const table = `static kernel *const kernels[] = {\n${kernels.map(({ name }) => `  ${name},\n`).join("")}};\n`;
  const [typedef, code] = splitAt(rest, "\n\n#if defined");
  return `${includes}\n${declarations.join("\n")}\n${typedef}\n\n${table}${code}`;
}

function splitAt(text: string, mark: string): [string, string] {
  const index = text.indexOf(mark);
  return [text.slice(0, index), text.slice(index)];
}
