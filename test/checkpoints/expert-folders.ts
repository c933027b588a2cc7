/** Experts as Hugging Face has them, made of GGUF's stacks. */

import { at } from "../../src/base/assert.ts";
import type { Values } from "./family-folders.ts";

/** The matrices of a stack, each on its own: `.3.w1`. */
export function splitExperts({ shape, rows }: Values, name: string): Record<string, Values> {
  const [count = 1, height = 1] = shape;
  const own = Array.from({ length: count }, (_, e) => ({
    shape: shape.slice(1),
    rows: rows.slice(e * height, (e + 1) * height),
  }));
  return Object.fromEntries(own.map((values, e) => [`.${e}.${name}`, values]));
}

/** [experts][outputs][inputs] → [experts][inputs][outputs], the outputs of all matrices in turn. */
function together(stacks: readonly Values[]): Values {
  const [{ shape }] = stacks as [Values];
  const [count = 1, height = 1, width] = shape;
  const outputs = height * stacks.length;
  if (width === undefined) {
    const rows = Array.from({ length: count }, (_, e) =>
      Float32Array.from({ length: outputs }, (_, o) => {
        const { rows } = at(stacks, o % stacks.length);
        return at(at(rows, e), Math.floor(o / stacks.length));
      }),
    );
    return { shape: [count, outputs], rows };
  }
  const rows = Array.from({ length: count * width }, (_, r) =>
    Float32Array.from({ length: outputs }, (_, o) => {
      const row = Math.floor(r / width) * height + Math.floor(o / stacks.length);
      return at(at(at(stacks, o % stacks.length).rows, row), r % width);
    }),
  );
  return { shape: [count, width, outputs], rows };
}

/** gpt-oss: a tensor for the gates and other inputs of all experts, one for what comes out. */
export function gptOssTensors(tensors: ReadonlyMap<string, Values>): ReadonlyMap<string, Values> {
  const all = new Map<string, Values>();
  for (const [name, values] of tensors) {
    const isBias = name.endsWith(".bias");
    const whole = name.replace(/\.(weight|bias)$/, "");
    const own = (parameter: string) => `${whole.replace(/\w+$/, parameter)}${isBias ? "_bias" : ""}`;
    if (whole.endsWith(".experts.gate")) {
      const up = tensors.get(name.replace(".gate.", ".up.")) as Values;
      all.set(own("gate_up_proj"), together([values, up]));
    } else if (whole.endsWith(".experts.down")) all.set(own("down_proj"), together([values]));
    else if (whole.endsWith(".sinks")) all.set(whole, values);
    else if (!whole.endsWith(".experts.up")) all.set(name, values);
  }
  return all;
}
