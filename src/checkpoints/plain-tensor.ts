import { FileFormatError } from "../base/errors.ts";
import { PlainTensor } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import type { SafeTensor } from "../files/safetensors.ts";

/** A tensor as it stands in a checkpoint. Throws `FileFormatError` for one without weights. */
export function plainTensor(
  name: string,
  { dtype, shape, source, offset, byteLength }: SafeTensor,
): PlainTensor {
  if (shape.includes(0)) {
    throw new FileFormatError(
      source.name,
      `tensor ${quoted(name)}`,
      `has no weights: its shape is [${shape}]`,
    );
  }
  return new PlainTensor(name, dtype, [...shape].reverse(), source, offset, byteLength);
}
