import koffi from "koffi";
import { assert } from "../base/assert.ts";
import { MachineError } from "../base/errors.ts";

/** Largest part of native memory that one JavaScript view may cover. */
const MAX_VIEW_BYTES = 2 ** 30;

type Address = number | bigint;

/**
 * The C interface of a compiled unit (see `emit/c-runtime.ts` and `emit/c-memory.ts`). Addresses are numbers: user-space addresses have at
 * most 57 bits and in practice 47, so that they are exact below 2^53.
 */
export class NativeLibrary {
  private readonly functions;

  /** Loads a shared library. Throws `MachineError` if the dynamic linker refuses it. */
  constructor(readonly path: string) {
    try {
      const library = koffi.load(path);
      this.functions = {
        teamCreate: library.func("uint64_t qigen_team_create(int32_t threads)"),
        teamDestroy: library.func("void qigen_team_destroy(uint64_t team)"),
        run: library.func(
          "int32_t qigen_run(uint64_t team, uint64_t steps, int32_t count, uint64_t cancel, uint64_t times)",
        ),
        parameters: library.func("int32_t qigen_parameters(int32_t kernel)"),
        allocate: library.func("uint64_t qigen_allocate(uint64_t bytes, int32_t huge)"),
        release: library.func("void qigen_release(uint64_t memory, uint64_t bytes, int32_t huge)"),
        mapFile: library.func("uint64_t qigen_map_file(const char *path, uint64_t bytes)"),
        moveStart: library.func("uint64_t qigen_move_start(uint64_t mapped, uint64_t bytes)"),
        moveOver: library.func("int32_t qigen_move_over(uint64_t move)"),
        moveStop: library.func("void qigen_move_stop(uint64_t move)"),
      };
    } catch (cause) {
      throw new MachineError(`cannot load the compiled kernels ${path}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** How many parameters a kernel has. */
  parameters(kernel: number): number {
    return this.functions.parameters(kernel);
  }

  createTeam(threads: number): number {
    const team = exact(this.functions.teamCreate(threads));
    if (team === 0) throw new MachineError(`cannot start ${threads} threads`);
    return team;
  }

  /** Joins the team's threads; nothing may be running on it. */
  destroyTeam(team: number): void {
    this.functions.teamDestroy(team);
  }

  /** Runs a step table on a thread of its own; resolves to 1, or to 0 if the cancel word was set. */
  run(team: number, steps: number, count: number, cancel: number, times: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.functions.run.async(team, steps, count, cancel, times, (error: Error | null, done: number) => {
        if (error) reject(error);
        else resolve(done);
      });
    });
  }

  /** Zeroed memory, on huge pages where granted. Throws `MachineError` when there is not enough. */
  allocate(bytes: number, huge: boolean): number {
    const address = exact(this.functions.allocate(bytes, huge ? 1 : 0));
    if (address === 0) throw new MachineError(`cannot allocate ${bytes} bytes of memory`);
    return address;
  }

  release(address: number, bytes: number, huge: boolean): void {
    this.functions.release(address, bytes, huge ? 1 : 0);
  }

  /** Maps the first bytes of a file read-only; released like huge memory. Throws `MachineError` if the system refuses. */
  mapFile(path: string, bytes: number): number {
    const address = exact(this.functions.mapFile(path, bytes));
    if (address === 0) throw new MachineError(`cannot map ${path} into memory`);
    return address;
  }

  /** Begins to move a mapped file to huge pages; undefined where the system has no way to. */
  startMove(address: number, bytes: number): number | undefined {
    return exact(this.functions.moveStart(address, bytes)) || undefined;
  }

  moveIsOver(move: number): boolean {
    return this.functions.moveOver(move) === 1;
  }

  /** Ends a move, in a few milliseconds if it is not over; it cannot be asked about afterwards. */
  stopMove(move: number): void {
    this.functions.moveStop(move);
  }

  /** The bytes at an address, shared, not copied; invalid once the memory is released. */
  view(address: number, bytes: number): Uint8Array<ArrayBuffer> {
    assert(bytes <= MAX_VIEW_BYTES, `a view of ${bytes} bytes`);
    return new Uint8Array(koffi.view(BigInt(address), bytes));
  }
}

function exact(address: Address): number {
  const value = Number(address);
  assert(Number.isSafeInteger(value), "an address above 2^53");
  return value;
}
