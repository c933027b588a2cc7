/**
 * One entry of a program in memory, as the drivers of all targets walk it: i32 kernel number, i32 flags, u64 address of
 * the argument block, i32 parts; the rest belongs to the driver and starts as zero. A cache line, so that threads that
 * work on different steps do not disturb one another.
 */
export const STEP_BYTES = 64;

/** Flag of a step: later steps depend on it and on those before it. */
export const STEP_BARRIER = 1;

/** Flag of a step: every thread of the team runs exactly one part, its own. */
export const STEP_OWN_PARTS = 2;
