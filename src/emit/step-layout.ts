/**
 * One entry of a program in memory, as the drivers of all targets walk it: i32 kernel number, i32 flags, u64 address of
 * the argument block.
 */
export const STEP_BYTES = 16;

/** Flag of a step: the team meets at a barrier after it. */
export const STEP_BARRIER = 1;
