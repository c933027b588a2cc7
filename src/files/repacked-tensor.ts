import { rowBytes } from "../quant/blocks.ts";
import { FORMATS, type QuantizedFormat } from "../quant/formats.ts";
import { fileRowBytes, repackBlocks, repackingOf } from "../quant/repacking.ts";
import { PlainTensor } from "./model-file.ts";

/** Bytes of a file that are re-packed at once: they stay in a cache, and other work has its turn in between. */
const PART_BYTES = 2 ** 18;

/** A tensor of a type whose blocks are re-packed as its rows are read. */
class RepackedTensor<T extends string> extends PlainTensor<T> {
  constructor(
    private readonly format: QuantizedFormat,
    ...place: ConstructorParameters<typeof PlainTensor<T>>
  ) {
    super(...place);
  }

  override async readRows(first: number, target: Uint8Array): Promise<void> {
    const cols = this.shape[0] ?? 1;
    const [stored, wanted] = [fileRowBytes(this.format, cols), rowBytes(this.format, cols)];
    const rows = target.length / wanted;
    const rowsAtOnce = Math.min(rows, Math.ceil(PART_BYTES / stored));
    const part = new Uint8Array(rowsAtOnce * stored);
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row);
      const bytes = part.subarray(0, count * stored);
      await super.readRows(first + row, bytes);
      repackBlocks(this.format, bytes, target.subarray(row * wanted, (row + count) * wanted));
    }
  }
}

/** A tensor whose blocks stand in a file as GGUF has them. */
export function ggufTensor<T extends string>(
  ...place: ConstructorParameters<typeof PlainTensor<T>>
): PlainTensor<T> {
  const [, type] = place;
  const format = FORMATS.get(type);
  if (format?.kind === "quantized" && repackingOf(format) !== undefined)
    return new RepackedTensor(format, ...place);
  return new PlainTensor(...place);
}
