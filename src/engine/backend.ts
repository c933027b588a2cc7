import type { Kernel } from "../ir/types.ts";
import type { Isa } from "../isa/isa.ts";
import type { KernelRecipe } from "../kernels/recipe.ts";

export type BackendKind = "native" | "wasm" | "interpreter";

/**
 * What memory is for, which decides its pages where the system lets a process choose: huge for "weights", huge from
 * 2 MiB on for "working", the system's usual ones for "plain".
 */
export type MemoryUse = "weights" | "working" | "plain";

/** Memory that kernels see. */
export interface Region {
  /** Address in the backend's address space. */
  readonly address: number;
  readonly bytes: number;
  /** Shared view of a part, at most 1 GiB long. Invalid once the backend is disposed. */
  view(offset: number, length: number): Uint8Array;
}

/** One entry of a program: a kernel and the values of its parameters (addresses, integers) in order. */
export interface Step {
  readonly kernel: string;
  readonly arguments: readonly number[];
  /** Whether later steps depend on this one and those before it. Steps without it may run at the same time. */
  readonly barrier: boolean;
  /**
   * Parts that the step is split into, which the threads take as they come. Without it, every thread runs exactly one
   * part, its own, as kernels with a barrier of their own need.
   */
  readonly parts?: number;
}

/** A program in the backend's memory, ready to run again and again. */
export interface Program {
  readonly steps: readonly Step[];
}

/** A region on its way to other pages. */
export interface Move {
  /** Whether it has come to an end, of the region or of memory. */
  readonly over: boolean;
  /** Ends it, in a few milliseconds. Wanted before the region is released. */
  stop(): void;
}

/** What runs kernels. All backends have the same meaning; they differ in speed and in what they need. */
export interface Backend {
  readonly kind: BackendKind;
  readonly isa: Isa;
  readonly threads: number;
  /** One line for the user: what runs, where it came from. */
  readonly description: string;
  /** Zeroed memory, 64-byte aligned. Throws `MachineError` when it does not fit. */
  allocate(bytes: number, use: MemoryUse): Region;
  /** Gives an allocation back (weights staging); optional, everything goes with `dispose`. */
  release(region: Region): void;
  /** A read-only mapping of the first bytes of a file, where the platform has such a thing. */
  readonly mapFile?: (path: string, bytes: number) => Region;
  /**
   * Begins to move a mapped file to huge pages of this process, while kernels read it: its addresses and contents stay.
   * What there is no memory for stays mapped.
   */
  readonly moveToHugePages?: (mapped: Region) => Move;
  prepare(steps: readonly Step[]): Program;
  /** Runs all steps; stops at the next barrier with `AbortedError` when the signal fires. One run at a time. */
  run(program: Program, signal?: AbortSignal): Promise<void>;
  dispose(): Promise<void>;
}

/** What a backend is made for. */
export interface BackendRequest {
  readonly isa: Isa;
  readonly threads: number;
  readonly kernels: readonly (Kernel | KernelRecipe)[];
  /** Bytes that will be allocated in all, for backends that must reserve them at the start. */
  readonly capacity: number;
  readonly signal?: AbortSignal | undefined;
}

/** Alignment of every allocation. */
export const REGION_ALIGNMENT = 64;
