import type { StoredTensor } from "../files/model-file.ts";
import { rowBytes } from "../quant/blocks.ts";
import type { Format } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";
import { extentsOf, readWeights } from "./working-tensors.ts";

/** Rows are copied in parts of about so many weights. */
const PART_WEIGHTS = 1 << 20;

/** The rows of a tensor of floats, in parts, as they are or as another type of floats. */
export async function* floatRows(tensor: StoredTensor, format: Format): AsyncGenerator<Uint8Array> {
  const isSame = tensor.type === format.name;
  const { rows, cols } = extentsOf(tensor);
  const most = Math.max(1, Math.floor(PART_WEIGHTS / cols));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    if (!isSame) {
      const { weights } = await readWeights(tensor, first, count);
      yield quantizeRows(format, weights, count, cols);
      continue;
    }
    const bytes = new Uint8Array(count * rowBytes(format, cols));
    await tensor.readRows(first, bytes);
    yield bytes;
  }
}
