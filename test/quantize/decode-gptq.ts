/** GPTQ folders read by their definition, without any code of the library: bit by bit, one weight at a time. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: DataView;
}

export function readTensors(folder: string): ReadonlyMap<string, Stored> {
  const file = readFileSync(join(folder, "model.safetensors"));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Stored>();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const bytes = new DataView(file.buffer, file.byteOffset + 8 + length + at[0], at[1] - at[0]);
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** weight[out][in] = scale · (code − (stored zero + 1)), of the group that g_idx says. */
export function decodeModule(folder: string, module: string, bits: number): number[][] {
  const tensors = readTensors(folder);
  const of = (name: string) => tensors.get(`${module}.${name}`) as Stored;
  const [weight, zeros, scales, groups] = [of("qweight"), of("qzeros"), of("scales"), of("g_idx")];
  const [outputs, inputs] = [weight.shape[1] as number, groups.shape[0] as number];
  const code = (from: Stored, word: (n: number) => number, index: number) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = index * bits + bit;
      value |= ((from.bytes.getInt32(4 * word(Math.floor(at / 32)), true) >> (at % 32)) & 1) << bit;
    }
    return value;
  };
  return Array.from({ length: outputs }, (_, out) =>
    Array.from({ length: inputs }, (_, input) => {
      const group = groups.bytes.getInt32(4 * input, true);
      const perRow = zeros.shape[1] as number;
      const zero = (code(zeros, (n) => group * perRow + n, out) + 1) % 2 ** bits;
      const scale = half(scales.bytes.getUint16(2 * (group * outputs + out), true));
      return scale * (code(weight, (n) => n * outputs + out, input) - zero);
    }),
  );
}
