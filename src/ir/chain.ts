import { assert } from "../base/assert.ts";
import type { OpMethods } from "./builder.ts";
import type { DotOpName } from "./ops.ts";
import type { Statement, Target, Value } from "./types.ts";

/** What a chain is written with. */
interface Writer {
  readonly target: Target;
  readonly op: OpMethods;
  readonly sum: () => Value<"vsum">;
  readonly total: () => Value<"vi32">;
  readonly push: (statement: Statement) => void;
}

/** Links that may go on. */
interface Open {
  readonly sum: Value<"vsum">;
  readonly links: number;
}

/** A chain of dot products that is being written; other statements may come between its links. */
export class Chain {
  /** By how far up in their bytes the codes are. */
  private readonly open = new Map<number, Open>();
  /** What was closed because sums in 16 bits were full. */
  private closed: Value<"vi32"> | undefined;

  constructor(
    private readonly to: Writer,
    private readonly op: DotOpName,
    private readonly bits: number,
    private readonly accumulator: () => Value<"vi32">,
  ) {}

  /**
   * Adds the products of codes that are `up` bits too far up in their bytes. Links of each such distance are a chain of
   * their own, which is divided when it is joined to the others.
   */
  add(weight: Value<"vu8">, activation: Value<"vi8">, up = 0): void {
    const { to, op } = this;
    assert((weight.bits ?? 8) <= this.bits + up, "a code with more bits than its chain");
    if (this.open.get(up)?.links === this.most(up)) {
      if (up > 0) this.join(up);
      else this.closed = this.closeLinks();
    }
    const before = this.open.get(up);
    const sum = before?.sum ?? (this.inPlace ? this.start(up) : undefined);
    const result = to.sum();
    to.push({ kind: "dot", op, ...(sum === undefined ? {} : { sum }), weight, activation, result });
    this.open.set(up, { sum: result, links: (before?.links ?? 0) + 1 });
  }

  /** The accumulator plus all products. */
  close(): Value<"vi32"> {
    for (const up of [...this.open.keys()]) if (up > 0) this.join(up);
    return this.closeLinks();
  }

  /**
   * The low 16 bits of the products of this chain, and above them those of another: two sums in a lane. The codes of each
   * are at one place in their bytes, those of this chain not too far up, and accumulators are 0.
   */
  closePair(other: Chain): Value<"vi32"> {
    const [[low, lowSum], [up, highSum]] = [this.only(), other.only()];
    assert(low === 0, "codes of the first of a pair are too far up");
    return this.to.op.vsumpair(lowSum, highSum, { shift: up });
  }

  private only(): readonly [up: number, sum: Value<"vsum">] {
    const [first, ...others] = this.open;
    assert(first !== undefined && others.length === 0 && this.closed === undefined, "not one open sum");
    const [up, { sum }] = first;
    this.open.clear();
    return [up, sum];
  }

  private get inPlace(): boolean {
    return this.most(0) === Number.POSITIVE_INFINITY;
  }

  private most(up: number): number {
    return this.to.target.dotLinks(this.bits + up);
  }

  private start(up: number): Value<"vi32"> {
    return up === 0 ? this.accumulator() : this.to.op.viconst({ value: 0 });
  }

  private join(up: number): void {
    const [low, high] = [this.open.get(0), this.open.get(up)];
    assert(low !== undefined && high !== undefined, "nothing to join");
    const links = low.links + high.links;
    assert(links <= this.most(0), "joined sums do not fit");
    this.open.delete(up);
    this.open.set(0, { sum: this.to.op.vsumjoin(low.sum, high.sum, { shift: up }), links });
  }

  private closeLinks(): Value<"vi32"> {
    const { to, op } = this;
    const links = this.open.get(0);
    assert(links !== undefined, "a chain without links");
    this.open.delete(0);
    const result = to.total();
    const added = this.inPlace ? {} : { accumulator: this.closed ?? this.accumulator() };
    to.push({ kind: "close", op, sum: links.sum, ...added, result });
    return result;
  }
}
