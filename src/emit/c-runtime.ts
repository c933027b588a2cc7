import type { Kernel } from "../ir/types.ts";

const RUNTIME = `#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

// A team of threads walks one table of steps. A step is split into parts; every thread takes the next part that nobody
// has, and goes on to the next step when all parts that it may depend on are done. So nobody waits for a thread that the
// system has taken off its core, unless it holds a part.
//
// Both counters of a step carry the number of the run in their upper half: a thread that comes late, in a run that is
// over, finds another number or no part left, and leaves.
struct step {
  int32_t kernel;
  int32_t flags;  // 1: later steps depend on this one and those before it; 2: part i belongs to thread i
  uint64_t arguments;
  int32_t parts;
  int32_t unused;
  _Atomic uint64_t taken;
  _Atomic uint64_t done;
  uint64_t padding[3];
};

_Static_assert(sizeof(struct step) == 64, "a step fills a cache line");

struct team {
  int32_t threads;
  pthread_t *workers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  atomic_int sleepers;
  // The run: odd while its fields are being written, then even, and never 0.
  _Atomic uint32_t run;
  struct step *steps;
  int32_t count;
  const int32_t *cancel;
  uint64_t *times;
  int32_t quit;
  // The barrier within a kernel.
  atomic_int arrived;
  atomic_int generation;
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

// Waits until the condition holds: spins, then sleeps. Whoever makes it hold calls wake_sleepers afterwards.
#define WAIT_UNTIL(team, condition)                                                                  \\
  do {                                                                                               \\
    int spin = 0;                                                                                    \\
    while (!(condition) && spin < SPINS) {                                                           \\
      relax();                                                                                       \\
      spin++;                                                                                        \\
    }                                                                                                \\
    if (spin < SPINS) break;                                                                         \\
    pthread_mutex_lock(&(team)->lock);                                                               \\
    atomic_fetch_add(&(team)->sleepers, 1);                                                          \\
    while (!(condition)) pthread_cond_wait(&(team)->wake, &(team)->lock);                            \\
    atomic_fetch_sub(&(team)->sleepers, 1);                                                          \\
    pthread_mutex_unlock(&(team)->lock);                                                             \\
  } while (0)

static void wake_sleepers(struct team *team) {
  if (atomic_load(&team->sleepers) == 0) return;
  pthread_mutex_lock(&team->lock);
  pthread_cond_broadcast(&team->wake);
  pthread_mutex_unlock(&team->lock);
}

// For kernels whose threads meet; their steps have one part for each thread.
void team_barrier(struct team *team) {
  if (team->threads == 1) return;
  const int generation = atomic_load(&team->generation);
  if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
    atomic_store(&team->arrived, 0);
    atomic_store(&team->generation, generation + 1);
    wake_sleepers(team);
    return;
  }
  WAIT_UNTIL(team, atomic_load(&team->generation) != generation);
}

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Counts one more in this run; returns how many there were, or -1 if the run is over or has reached the limit.
static int32_t count_up(_Atomic uint64_t *counter, uint32_t run, int32_t limit) {
  uint64_t seen = atomic_load(counter);
  for (;;) {
    const uint32_t seen_run = (uint32_t)(seen >> 32);
    const int32_t n = seen_run == run ? (int32_t)seen : 0;
    if ((int32_t)(seen_run - run) > 0 || n >= limit) return -1;
    if (atomic_compare_exchange_weak(counter, &seen, ((uint64_t)run << 32) | (uint32_t)(n + 1))) return n;
  }
}

static int is_done(const struct step *step, uint32_t run) {
  const uint64_t done = atomic_load(&step->done);
  const int32_t later = (int32_t)((uint32_t)(done >> 32) - run);
  return later > 0 || (later == 0 && (int32_t)done >= step->parts);
}

// One thread's way through a run. When the cancel word is set, parts are counted as done without being run.
static void walk(struct team *team, int32_t thread, uint32_t run, struct step *steps, int32_t count) {
  int32_t first = 0;  // steps from here on may not be done
  for (int32_t i = 0; i < count; i++) {
    struct step *step = &steps[i];
    const int own = step->flags & 2;
    for (;;) {
      const int32_t taken = count_up(&step->taken, run, step->parts);
      if (taken < 0) break;
      if (!__atomic_load_n(team->cancel, __ATOMIC_RELAXED)) {
        kernels[step->kernel]((const uint64_t *)step->arguments, own ? thread : taken, step->parts, team);
      }
      if (count_up(&step->done, run, step->parts) + 1 == step->parts) {
        if (team->times) team->times[i] = nanoseconds();
        wake_sleepers(team);
      }
      if (own) break;
    }
    if (!(step->flags & 1) && i + 1 < count) continue;
    for (; first <= i; first++) WAIT_UNTIL(team, is_done(&steps[first], run));
  }
}

// Waits for a run after the last one and reads it as a whole.
static uint32_t next_run(struct team *team, uint32_t last, struct step **steps, int32_t *count) {
  for (;;) {
    uint32_t run;
    WAIT_UNTIL(team, (run = atomic_load(&team->run)) != last && (run & 1) == 0);
    *steps = team->steps;
    *count = team->count;
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&team->run) == run) return run;
  }
}

static void *work(void *argument) {
  struct worker self = *(struct worker *)argument;
  free(argument);
  for (uint32_t run = 0;;) {
    struct step *steps;
    int32_t count;
    run = next_run(self.team, run, &steps, &count);
    if (self.team->quit) return NULL;
    walk(self.team, self.thread, run, steps, count);
  }
}

// Publishes a run to the workers; returns its number.
static uint32_t publish(struct team *team, struct step *steps, int32_t count, const int32_t *cancel, uint64_t *times) {
  const uint32_t run = atomic_load(&team->run) + 2;
  atomic_store(&team->run, run - 1);
  team->steps = steps;
  team->count = count;
  team->cancel = cancel;
  team->times = times;
  atomic_store(&team->run, run);
  wake_sleepers(team);
  return run;
}

void qigen_team_destroy(struct team *team) {
  team->quit = 1;
  publish(team, NULL, 0, NULL, NULL);
  for (int32_t thread = 1; thread < team->threads; thread++) pthread_join(team->workers[thread], NULL);
  pthread_mutex_destroy(&team->lock);
  pthread_cond_destroy(&team->wake);
  free(team->workers);
  free(team);
}

// Starts a worker; returns whether that worked.
static int start(struct team *team, int32_t thread) {
  struct worker *worker = malloc(sizeof *worker);
  if (!worker) return 0;
  worker->team = team;
  worker->thread = thread;
  if (pthread_create(&team->workers[thread], NULL, work, worker) == 0) return 1;
  free(worker);
  return 0;
}

// A team of so many threads, or NULL; then none of them is left.
struct team *qigen_team_create(int32_t threads) {
  struct team *team = calloc(1, sizeof *team);
  if (!team) return NULL;
  pthread_mutex_init(&team->lock, NULL);
  pthread_cond_init(&team->wake, NULL);
  team->workers = calloc((size_t)threads, sizeof *team->workers);
  team->threads = 1;
  while (team->workers && team->threads < threads && start(team, team->threads)) team->threads++;
  if (team->threads == threads) return team;
  qigen_team_destroy(team);
  return NULL;
}

// How many parameters a kernel has.
int32_t qigen_parameters(int32_t kernel) {
  return parameters[kernel];
}

// Runs the steps; returns 1 when they were all run, 0 when the cancel word was set.
int32_t qigen_run(struct team *team, struct step *steps, int32_t count, const int32_t *cancel, uint64_t *times) {
  const uint32_t run = publish(team, steps, count, cancel, times);
  walk(team, 0, run, steps, count);
  return !__atomic_load_n(cancel, __ATOMIC_RELAXED);
}
`;

/** The C unit that drives the kernels: thread team, barrier, step table walk. `kernels` fixes their numbers. */
export function emitRuntime(kernels: readonly Kernel[]): string {
  const [includes, rest] = splitAt(RUNTIME, "\ntypedef void kernel(");
  const declarations = kernels.map(
    ({ name }) =>
      `void ${name}(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team);`,
  );
  const table = `static kernel *const kernels[] = {\n${kernels.map(({ name }) => `  ${name},\n`).join("")}};\n`;
  const counts = kernels.map(({ parameters }) => parameters.length).join(", ");
  const [typedef, code] = splitAt(rest, "\n\n#if defined");
  return `${includes}\n${declarations.join("\n")}\n${typedef}\n\n${table}\nstatic const int32_t parameters[] = {${counts}};\n${code}`;
}

function splitAt(text: string, mark: string): [string, string] {
  const index = text.indexOf(mark);
  return [text.slice(0, index), text.slice(index)];
}
