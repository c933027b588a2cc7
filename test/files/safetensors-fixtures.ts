import { writeFile } from "node:fs/promises";

/** A tensor to write: torch's shape, and the bytes of its data. */
export interface TensorData {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Any header, right or wrong, in front of any data. */
export function rawSafetensors(header: unknown, data = new Uint8Array(0), length?: bigint): Uint8Array {
  const json = typeof header === "string" ? header : JSON.stringify(header);
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

/** A safetensors file of these tensors, one behind the other. */
export function safetensors(tensors: Readonly<Record<string, TensorData>>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.length] };
    end += data.length;
  }
  const all = Buffer.concat(Object.values(tensors).map(({ data }) => data));
  return rawSafetensors(header, all);
}

export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, TensorData>>,
): Promise<void> {
  await writeFile(path, safetensors(tensors));
}

export function f32Data(shape: readonly number[], values: ArrayLike<number>): TensorData {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}
