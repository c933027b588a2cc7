import { assert, at } from "../base/assert.ts";
import { AbortedError, FileFormatError, UsageError } from "../base/errors.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { Isa } from "../isa/isa.ts";
import { paddedCols } from "../kernels/activations.ts";
import { PACK_SLACK, pack, packName, wholeBlocks } from "../kernels/pack.ts";
import { orderedOffsets } from "../kernels/prepare.ts";
import { type KernelRecipe, KernelRecipes } from "../kernels/recipe.ts";
import { tilesArgument } from "../kernels/records.ts";
import { type ModelPart, matrixCount, nameOf, type Vector, vectors } from "../models/model.ts";
import { rowBytes } from "../quant/blocks.ts";
import { formatNamed } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";
import { dequantizeRows } from "../quant/reference.ts";
import type { Backend, Region } from "./backend.ts";
import type { MatrixPlan } from "./matrix-plan.ts";
import { type ModelProgram, orderOf } from "./model-program.ts";

/** Bytes of source rows that are read and packed together; two buffers, so that reading and packing overlap. */
const STAGING_BYTES = 8 * 2 ** 20;

export interface LoadOptions {
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The kernels that packing needs. */
export function packKernels(matrices: Iterable<MatrixPlan>, isa: Isa): KernelRecipe[] {
  const kernels = new KernelRecipes();
  for (const { packing } of matrices) {
    const { format, cols, tileRows } = packing;
    kernels.add(packName(packing), { format, cols, tileRows }, () => pack(packing, isa));
  }
  return kernels.values();
}

/** Bytes of staging memory that loading allocates. */
export function stagingBytes(matrices: Iterable<MatrixPlan>): number {
  return 2 * bufferBytes([...matrices]);
}

function bufferBytes(matrices: readonly MatrixPlan[]): number {
  const tile = ({ packing }: MatrixPlan) => packing.tileRows * rowBytes(packing.format, packing.cols);
  return Math.max(STAGING_BYTES, ...matrices.map(tile)) + PACK_SLACK;
}

/**
 * Reads every weight matrix and norm vector of a model into the `weights` region, packed. Rows are read in parts
 * of a few MB, packed by the backend's threads while the next part is read; no second copy of the model is held.
 */
export async function loadWeights(
  program: ModelProgram<ModelPart>,
  backend: Backend,
  weights: Region,
  file: ModelFile,
  options: LoadOptions = {},
): Promise<void> {
  await loadVectors(program, weights, file);
  writeOrders(program, weights);
  const matrices = [...program.matrices.values()];
  const size = bufferBytes(matrices);
  const staging = [backend.allocate(size, "working"), backend.allocate(size, "working")] as const;
  const total = matrices.reduce((sum, m) => sum + matrixCount(m.linear) * bytesOf(m, m.linear.rows), 0);
  let done = 0;
  let packing: Promise<void> = Promise.resolve();
  try {
    for (const [i, part] of partsOf(matrices, size).entries()) {
      if (options.signal?.aborted) throw new AbortedError();
      const buffer = staging[i % 2] as Region;
      await readPart(part, buffer, file);
      await packing;
      packing = packPart(
        backend,
        part,
        buffer,
        weights.address + program.weights.offset(nameOf(part.matrix.linear)),
      );
      // It is awaited when the next part is read: until then a failure must not count as unhandled.
      packing.catch(() => undefined);
      done += part.blocks.reduce((sum, block) => sum + bytesOf(part.matrix, block.rows), 0);
      options.onProgress?.(done, total);
    }
  } finally {
    await packing;
    for (const buffer of staging) backend.release(buffer);
  }
}

/** Bytes of so many rows of the tensor. */
function bytesOf({ source, linear }: MatrixPlan, rows: number): number {
  return rows * rowBytes(source, linear.cols);
}

/** Consecutive rows of a tensor that are read and packed together: a block of one matrix, or of each of some matrices. */
interface Part {
  readonly matrix: MatrixPlan;
  readonly blocks: readonly Block[];
}

/** Consecutive whole tiles of one matrix of a stack. */
interface Block {
  readonly expert: number;
  readonly firstTile: number;
  readonly tiles: number;
  readonly rows: number;
}

function partsOf(matrices: readonly MatrixPlan[], stagingSize: number): Part[] {
  return matrices.flatMap((matrix) => splitMatrix(matrix, stagingSize - PACK_SLACK));
}

function splitMatrix(matrix: MatrixPlan, bytes: number): Part[] {
  const { packing, source, linear } = matrix;
  const perRow = Math.max(rowBytes(packing.format, linear.cols), rowBytes(source, linear.cols));
  const tilesAtOnce = Math.max(1, Math.floor(bytes / (perRow * packing.tileRows)));
  const matricesAtOnce = Math.max(1, Math.floor(tilesAtOnce / packing.tiles));
  const blocks = Array.from({ length: matrixCount(linear) }, (_, expert) =>
    splitRows(matrix, expert, tilesAtOnce),
  ).flat();
  // A matrix that is larger than the buffer has several blocks, each a part of its own.
  return Array.from({ length: Math.ceil(blocks.length / matricesAtOnce) }, (_, i) => ({
    matrix,
    blocks: blocks.slice(i * matricesAtOnce, (i + 1) * matricesAtOnce),
  }));
}

function splitRows({ packing, linear }: MatrixPlan, expert: number, tilesAtOnce: number): Block[] {
  const blocks: Block[] = [];
  for (let firstTile = 0; firstTile < packing.tiles; firstTile += tilesAtOnce) {
    const tiles = Math.min(tilesAtOnce, packing.tiles - firstTile);
    const rows = Math.min(tiles * packing.tileRows, linear.rows - firstTile * packing.tileRows);
    blocks.push({ expert, firstTile, tiles, rows });
  }
  return blocks;
}

/** Reads that are under way at once: one core copies from the system's file cache at half the memory bandwidth or less. */
const PARALLEL_READS = 2;

/** Fills `target` with rows of `stride` bytes from row `first` on. */
async function readRows(
  tensor: StoredTensor,
  first: number,
  stride: number,
  target: Uint8Array,
): Promise<void> {
  const rows = Math.ceil(target.length / stride / PARALLEL_READS);
  const starts = Array.from({ length: PARALLEL_READS }, (_, i) => i * rows).filter(
    (start) => start * stride < target.length,
  );
  const slice = (start: number) => target.subarray(start * stride, (start + rows) * stride);
  await Promise.all(starts.map((start) => tensor.readRows(first + start, slice(start))));
}

async function readPart(part: Part, buffer: Region, file: ModelFile): Promise<void> {
  const { linear, source: from, packing } = part.matrix;
  const tensor = file.tensors.get(linear.tensor);
  assert(tensor !== undefined, `no tensor ${linear.tensor}`);
  const stride = rowBytes(from, linear.cols);
  const { expert, firstTile } = at(part.blocks, 0);
  const first = (linear.firstRow ?? 0) + expert * linear.rows + firstTile * packing.tileRows;
  const rows = part.blocks.reduce((sum, block) => sum + block.rows, 0);
  if (from === packing.format) {
    await readRows(tensor, first, stride, buffer.view(0, rows * stride));
    return;
  }
  const bytes = new Uint8Array(rows * stride);
  await readRows(tensor, first, stride, bytes);
  const values = dequantizeRows(from, bytes, rows, linear.cols);
  const quantized = quantizePart(part.matrix, values, rows, tensor);
  buffer.view(0, quantized.length).set(quantized);
}

/** What the quantizer refuses, weights that are not finite or too large, is a fault of the file. */
function quantizePart(
  { linear, packing }: MatrixPlan,
  values: Float32Array,
  rows: number,
  { file }: StoredTensor,
): Uint8Array {
  try {
    return quantizeRows(packing.format, values, rows, linear.cols);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new FileFormatError(file, `tensor ${linear.tensor}`, error.message);
  }
}

/** Packs the rows in a buffer to where their matrix lies. */
async function packPart(
  backend: Backend,
  { matrix: { packing }, blocks }: Part,
  buffer: Region,
  matrix: number,
): Promise<void> {
  const kernel = packName(packing);
  let from = buffer.address;
  const steps = blocks.map(({ expert, firstTile, tiles, rows }, i) => {
    const to = matrix + expert * packing.totalBytes;
    const args = [from, to, firstTile, tiles, rows, wholeBlocks(packing), ...tilesArgument(packing)];
    from += rows * rowBytes(packing.format, packing.cols);
    return { kernel, arguments: args, barrier: i === blocks.length - 1, parts: tiles };
  });
  await backend.run(backend.prepare(steps));
}

/** Norm weights and biases as f32; what follows each of them in its part of the region stays zero. */
async function loadVectors(
  program: ModelProgram<ModelPart>,
  weights: Region,
  file: ModelFile,
): Promise<void> {
  const loading = vectors(program.spec).map(async (vector) => {
    const values = await readVector(vector, file);
    const { length, count = 1 } = vector;
    const start = program.weights.offset(nameOf(vector));
    for (let n = 0; n < count; n++) {
      const bytes = new Uint8Array(values.slice(n * length, (n + 1) * length).buffer);
      weights.view(start + 4 * n * paddedCols(length), bytes.length).set(bytes);
    }
  });
  await Promise.all(loading);
}

/** The orders of the inputs of matrices that have one of their own. */
function writeOrders(program: ModelProgram<ModelPart>, weights: Region): void {
  for (const [name, { order }] of program.matrices) {
    if (order === undefined) continue;
    const offsets = new Uint8Array(orderedOffsets(order).buffer);
    weights.view(program.weights.offset(orderOf(name)), offsets.length).set(offsets);
  }
}

/** A vector of the file as f32. Throws `FileFormatError` if it is quantized or not finite. */
export async function readVector(
  { tensor: name, length, first = 0, count = 1 }: Vector,
  file: ModelFile,
): Promise<Float32Array> {
  const tensor = file.tensors.get(name);
  assert(tensor !== undefined, `no tensor ${name}`);
  const format = formatNamed(tensor.type);
  if (format.kind !== "float")
    throw new FileFormatError(tensor.file, `tensor ${name}`, `a vector of type ${tensor.type}`);
  const all = tensor.shape.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(rowBytes(format, all));
  await tensor.readRows(0, bytes);
  const values = dequantizeRows(format, bytes, 1, all).slice(first, first + count * length);
  if (!values.every(Number.isFinite)) {
    throw new FileFormatError(tensor.file, `tensor ${name}`, "has values that are not finite");
  }
  return values;
}
