import type { StoredTensor } from "../../files/model-file.ts";
import type { SafeTensor } from "../../files/safetensors.ts";
import type { Columns } from "../changed-tensors.ts";
import { expectShape, tensorError } from "./code-matrix.ts";

/** The matrices of all experts of a layer. */
export interface ExpertShape {
  readonly count: number;
  /** Outputs of a matrix. */
  readonly rows: number;
  readonly cols: number;
}

/** Weights that share a scale. */
const BLOCK = 32;
const HALF = BLOCK / 2;
/** Bytes of a block in GGUF: its scale, then its codes. */
const STORED = 1 + HALF;
/** Bytes that are changed at once. */
const PART_BYTES = 2 ** 18;

/**
 * Some outputs of MXFP4 matrices: `blocks` [count, rows, cols/32, 16], two codes of neighbours to a byte, the first in the
 * low half; `scales` [count, rows, cols/32], exponents. GGUF has weight k and k + 16 of a block in a byte.
 */
export class Mxfp4Tensor implements StoredTensor {
  readonly type = "MXFP4";
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteLength: number;

  /** Throws `FileFormatError` for tensors of other shapes, `count` matrices of `rows` × `cols`. */
  constructor(
    readonly name: string,
    private readonly blocks: SafeTensor,
    private readonly scales: SafeTensor,
    { count, rows, cols }: ExpertShape,
    private readonly outputs: Columns,
  ) {
    if (cols % BLOCK !== 0) throw tensorError(blocks, `has blocks of ${BLOCK} weights, for ${cols} inputs`);
    if (blocks.dtype !== "U8") throw tensorError(blocks, `has elements of type ${blocks.dtype}, not U8`);
    expectShape(blocks, [count, rows, cols / BLOCK, HALF]);
    expectShape(scales, [count, rows, cols / BLOCK]);
    this.shape = [cols, rows / outputs.step, count];
    this.file = blocks.source.name;
    this.byteLength = (blocks.byteLength + scales.byteLength) / outputs.step;
  }

  async readRows(first: number, target: Uint8Array): Promise<void> {
    const perRow = (this.shape[0] ?? BLOCK) / BLOCK;
    const { step } = this.outputs;
    const rows = target.length / (perRow * STORED);
    const rowsAtOnce = Math.max(1, Math.floor(PART_BYTES / (perRow * BLOCK * step)));
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row);
      const stored = (first + row) * step * perRow;
      const codes = await part(this.blocks, stored * HALF, count * step * perRow * HALF);
      const scales = await part(this.scales, stored, count * step * perRow);
      for (let r = 0; r < count; r++) {
        const from = (r * step + this.outputs.first) * perRow;
        writeBlocks(codes, scales, from, perRow, target, (row + r) * perRow * STORED);
      }
    }
  }
}

function part({ source, offset }: SafeTensor, start: number, length: number): Promise<Uint8Array> {
  return source.read(offset + start, length);
}

/** Writes `count` blocks from block `from` on to bytes from `to` on. */
function writeBlocks(
  codes: Uint8Array,
  scales: Uint8Array,
  from: number,
  count: number,
  target: Uint8Array,
  to: number,
): void {
  let out = to;
  for (let block = from; block < from + count; block++) {
    target[out++] = scales[block]!;
    const low = block * HALF;
    const high = low + HALF / 2;
    for (let pair = 0; pair < HALF / 2; pair++) {
      const [first, second] = [codes[low + pair]!, codes[high + pair]!];
      target[out++] = (first & 15) | (second << 4);
      target[out++] = (first >>> 4) | (second & 0xf0);
    }
  }
}
