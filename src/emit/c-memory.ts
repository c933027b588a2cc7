/** The C unit that has memory for weights, caches and everything else that kernels see. */
export const C_MEMORY = `#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE ((uint64_t)2 << 20)

static uint64_t whole_huge_pages(uint64_t bytes) {
  return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

static void *map_zeros(uint64_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

// Zeroed memory on a boundary of huge pages, a multiple of their size.
static char *map_aligned(uint64_t bytes) {
  bytes = whole_huge_pages(bytes);
  char *memory = map_zeros(bytes + HUGE_PAGE);  // more than is needed; the ends go back
  if (!memory) return NULL;
  const uint64_t before = -(uintptr_t)memory & (HUGE_PAGE - 1);
  if (before > 0) munmap(memory, before);
  munmap(memory + before + bytes, HUGE_PAGE - before);
  return memory + before;
}

// Zeroed memory of whole pages, on huge pages where the system grants them; NULL if there is not enough.
void *qigen_allocate(uint64_t bytes, int32_t huge) {
  if (!huge) return map_zeros(bytes);
  char *memory = map_aligned(bytes);
#ifdef MADV_HUGEPAGE
  if (memory) madvise(memory, whole_huge_pages(bytes), MADV_HUGEPAGE);
#endif
  return memory;
}

// For memory of qigen_allocate, and for mapped files as huge ones.
void qigen_release(void *memory, uint64_t bytes, int32_t huge) {
  munmap(memory, huge ? whole_huge_pages(bytes) : bytes);
}

// A read-only mapping of the first bytes of a file, on a boundary of huge pages; NULL if it cannot be mapped.
void *qigen_map_file(const char *path, uint64_t bytes) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return NULL;
  char *memory = map_aligned(bytes);
  if (memory && mmap(memory, bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED) {
    munmap(memory, whole_huge_pages(bytes));
    memory = NULL;
  }
  close(file);
  if (memory) madvise(memory, bytes, MADV_WILLNEED);
  return memory;
}

#ifdef __linux__
struct move {
  pthread_t thread;
  char *mapped;
  uint64_t bytes;
  atomic_int stop;
  atomic_int over;
};

// Copies huge page by huge page and puts the copy in the place of the original: whoever reads there meanwhile waits in
// the page fault, and finds the same bytes. Before mremap unmaps anything it checks its arguments and the number of
// mappings; if it fails, or there is no memory, the rest stays as it was.
//
// Of usual priority, with a rest after every page: a thread of low priority that the system takes off its core while
// it holds the lock of the address space stops all others at their next page fault, on a busy machine for 250 ms.
static void *move_pages(void *argument) {
  struct move *move = argument;
  const struct timespec rest = {.tv_nsec = 1000000};
  const uint64_t end = whole_huge_pages(move->bytes);
  char *copy = qigen_allocate(move->bytes, 1);
  uint64_t at = 0;
  for (; copy && at < end && !atomic_load(&move->stop); at += HUGE_PAGE) {
    const uint64_t left = move->bytes - at;
    memcpy(copy + at, move->mapped + at, left < HUGE_PAGE ? left : HUGE_PAGE);
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (mremap(copy + at, HUGE_PAGE, HUGE_PAGE, flags, move->mapped + at) == MAP_FAILED) break;
    nanosleep(&rest, NULL);
  }
  if (copy && at < end) munmap(copy + at, end - at);
  atomic_store(&move->over, 1);
  return NULL;
}

// Begins to move a mapped file to huge pages of this process, under the same addresses; NULL if that cannot begin.
struct move *qigen_move_start(void *mapped, uint64_t bytes) {
  struct move *move = calloc(1, sizeof *move);
  if (!move) return NULL;
  move->mapped = mapped;
  move->bytes = bytes;
  if (pthread_create(&move->thread, NULL, move_pages, move) == 0) return move;
  free(move);
  return NULL;
}

int32_t qigen_move_over(struct move *move) {
  return atomic_load(&move->over);
}

// Ends a move, after the page that it is at.
void qigen_move_stop(struct move *move) {
  atomic_store(&move->stop, 1);
  pthread_join(move->thread, NULL);
  free(move);
}
#else
struct move *qigen_move_start(void *mapped, uint64_t bytes) {
  return NULL;
}

int32_t qigen_move_over(struct move *move) {
  return 1;
}

void qigen_move_stop(struct move *move) {
}
#endif
`;
