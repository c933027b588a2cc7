import { Rng } from "../base/rng.ts";
import type { Isa } from "../isa/isa.ts";
import { activationKey, paddedCols } from "../kernels/activations.ts";
import type { ProjectionSpec } from "../kernels/projection.ts";
import { scratchBytes } from "../kernels/weight-source.ts";
import { projectionParts } from "../plan/parts.ts";
import { layoutOf } from "../plan/shape.ts";
import { type Packing, packing } from "../quant/packing.ts";
import type { Region } from "./backend.ts";
import { Layout } from "./layout.ts";
import type { ProjectionCase } from "./time-projection.ts";

/** Where the inputs and outputs of timed projections lie; cases share what they can. */
export class ProjectionBuffers {
  private readonly layout = new Layout();

  constructor(
    cases: readonly ProjectionCase[],
    private readonly isa: Isa,
    threads: number,
  ) {
    const sizes = new Map<string, number>();
    const grow = (name: string, bytes: number) => sizes.set(name, Math.max(bytes, sizes.get(name) ?? 0));
    for (const c of cases) {
      const { shape, tokens } = c;
      grow("inputs", 4 * tokens * paddedCols(shape.cols));
      grow("outputs", 4 * tokens * paddedCols(shape.rows));
      grow(preparedName(c, isa), tokens * layoutOf(shape, isa).rowBytes);
      grow(countName(c), 4);
      const spec = specOf(c);
      const parts = projectionParts(packingOf(c, isa), tokens, threads);
      grow("scratch", parts * scratchBytes(spec, isa));
    }
    for (const [name, bytes] of sizes) this.layout.add(name, bytes);
  }

  get bytes(): number {
    return this.layout.bytes;
  }

  /** Random normal inputs, and the counters. */
  fill(region: Region, cases: readonly ProjectionCase[]): void {
    const { offset, bytes } = this.layout.part("inputs");
    const rng = new Rng(0);
    const values = Float32Array.from({ length: BLOCK / 4 }, () => rng.normal());
    fillWith(region, offset, bytes, new Uint8Array(values.buffer));
    for (const c of cases) {
      const count = region.view(this.layout.offset(countName(c)), 4);
      new DataView(count.buffer, count.byteOffset).setInt32(0, c.tokens, true);
    }
  }

  offsetsOf(c: ProjectionCase) {
    const of = (name: string) => this.layout.offset(name);
    return {
      inputs: of("inputs"),
      prepared: of(preparedName(c, this.isa)),
      outputs: of("outputs"),
      count: of(countName(c)),
      scratch: of("scratch"),
    };
  }
}

export function specOf({ shape, blocking }: ProjectionCase): ProjectionSpec {
  const { format, cols, activations } = shape;
  return { format, cols, activations, blocking };
}

export function packingOf({ shape, blocking }: ProjectionCase, isa: Isa): Packing {
  return packing(shape.format, shape.rows, shape.cols, blocking.tu / isa.lanes, isa);
}

function preparedName({ shape }: ProjectionCase, isa: Isa): string {
  return activationKey(layoutOf(shape, isa));
}

function countName({ tokens }: ProjectionCase): string {
  return `count ${tokens}`;
}

/** Random bits that are repeated. */
const BLOCK = 2 ** 20;

/**
 * Random weights in any packed format: all bits are random but three of every second byte, which make every f16, bf16
 * and f32 that starts at an even address a normal number of moderate size, and one of the others, which makes scales of a
 * byte normal numbers too. Others would take longer, on some CPUs, than weights do.
 */
export function fillWeights(region: Region): void {
  const rng = new Rng(1);
  const block = Uint8Array.from({ length: BLOCK }, (_, i) => {
    const byte = rng.u32() & 0xff;
    return i % 2 === 0 ? byte | 0x08 : (byte & 0x8f) | 0x30;
  });
  fillWith(region, 0, region.bytes, block);
}

function fillWith(region: Region, from: number, bytes: number, block: Uint8Array): void {
  for (let done = 0; done < bytes; done += block.length) {
    const length = Math.min(block.length, bytes - done);
    region.view(from + done, length).set(block.subarray(0, length));
  }
}
