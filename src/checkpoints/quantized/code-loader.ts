import type { CodeMatrix, LoadedCodes } from "./code-matrix.ts";

/** Holds the codes of one matrix at a time, in memory that the next one gets: tensors are read in order, a part at a time. */
export class CodeLoader {
  private memory = new Uint32Array(0);
  private held: { readonly owner: object; readonly codes: LoadedCodes } | undefined;
  private last: Promise<unknown> = Promise.resolve();

  /** Hands the codes of a matrix to `use`, which must not keep them, when all that was asked for before is done. */
  use(owner: object, load: CodeMatrix["load"], use: (codes: LoadedCodes) => void): Promise<void> {
    const turn = this.last.then(async () => {
      if (this.held?.owner !== owner) {
        this.held = undefined;
        this.held = { owner, codes: await load((length) => this.words(length)) };
      }
      use(this.held.codes);
    });
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private words(length: number): Uint32Array {
    if (this.memory.length < length) this.memory = new Uint32Array(length);
    return this.memory.subarray(0, length);
  }
}
