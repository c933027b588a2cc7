import { assert } from "../base/assert.ts";
import { AbortedError, FileFormatError } from "../base/errors.ts";
import type { GgufFile } from "../files/gguf.ts";
import type { ByteSource } from "../files/source.ts";
import type { Kernel } from "../ir/types.ts";
import type { Isa } from "../isa/isa.ts";
import { PACK_SLACK, pack, packName } from "../kernels/pack.ts";
import { formatNamed, rowBytes } from "../quant/formats.ts";
import { quantizeRows } from "../quant/quantizers.ts";
import { dequantizeRows } from "../quant/reference.ts";
import type { Backend, Region } from "./backend.ts";
import type { MatrixPlan } from "./matrix-plan.ts";
import type { ModelProgram } from "./model-program.ts";

/** Bytes of source rows that are read and packed together; two buffers, so that reading and packing overlap. */
const STAGING_BYTES = 8 * 2 ** 20;

export interface LoadOptions {
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The kernels that packing needs, by name. */
export function packKernels(matrices: Iterable<MatrixPlan>, isa: Isa): Map<string, Kernel> {
  const kernels = new Map<string, Kernel>();
  for (const { packing } of matrices) {
    const name = packName(packing);
    if (!kernels.has(name)) kernels.set(name, pack(packing, isa));
  }
  return kernels;
}

/** Bytes of staging memory that `loadWeights` allocates. */
export function stagingBytes(matrices: Iterable<MatrixPlan>): number {
  return 2 * stagingBufferBytes(matrices);
}

function stagingBufferBytes(matrices: Iterable<MatrixPlan>): number {
  let bytes = STAGING_BYTES;
  for (const { packing } of matrices)
    bytes = Math.max(bytes, packing.tileRows * rowBytes(packing.format, packing.cols));
  return bytes + PACK_SLACK;
}

/**
 * Reads every weight matrix and norm vector of a GGUF file into the `weights` region, packed. Rows are read in parts
 * of a few MB, packed by the backend's threads while the next part is read; no second copy of the model is held.
 */
export async function loadWeights(
  program: ModelProgram,
  backend: Backend,
  weights: Region,
  file: GgufFile,
  source: ByteSource,
  options: LoadOptions = {},
): Promise<void> {
  const matrices = [...program.matrices.values()];
  await loadVectors(program, weights, file, source);
  const size = stagingBufferBytes(matrices);
  const staging = [backend.allocate(size, "working"), backend.allocate(size, "working")] as const;
  const total = matrices.reduce((sum, m) => sum + m.linear.rows * rowBytes(m.source, m.linear.cols), 0);
  const parts = matrices.flatMap((matrix) => splitMatrix(matrix, size - PACK_SLACK));
  let done = 0;
  let packing: Promise<void> = Promise.resolve();
  try {
    for (const [i, part] of parts.entries()) {
      if (options.signal?.aborted) throw new AbortedError();
      const buffer = staging[i % 2] as Region;
      await readPart(part, buffer, file, source);
      await packing;
      packing = packPart(program, backend, weights, part, buffer);
      done += part.rows * rowBytes(part.matrix.source, part.matrix.linear.cols);
      options.onProgress?.(done, total);
    }
  } finally {
    await packing;
    for (const buffer of staging) backend.release(buffer);
  }
}

/** Consecutive whole tiles of a matrix. */
interface Part {
  readonly matrix: MatrixPlan;
  readonly firstTile: number;
  readonly tiles: number;
  readonly rows: number;
}

function splitMatrix(matrix: MatrixPlan, bytes: number): Part[] {
  const { packing, source, linear } = matrix;
  const perRow = Math.max(rowBytes(packing.format, linear.cols), rowBytes(source, linear.cols));
  const tilesAtOnce = Math.max(1, Math.floor(bytes / (perRow * packing.tileRows)));
  const parts: Part[] = [];
  for (let firstTile = 0; firstTile < packing.tiles; firstTile += tilesAtOnce) {
    const tiles = Math.min(tilesAtOnce, packing.tiles - firstTile);
    const rows = Math.min(tiles * packing.tileRows, linear.rows - firstTile * packing.tileRows);
    parts.push({ matrix, firstTile, tiles, rows });
  }
  return parts;
}

async function readPart(part: Part, buffer: Region, file: GgufFile, source: ByteSource): Promise<void> {
  const { linear, source: from, packing } = part.matrix;
  const tensor = file.tensors.get(linear.tensor);
  assert(tensor !== undefined, `no tensor ${linear.tensor}`);
  const stride = rowBytes(from, linear.cols);
  const offset = tensor.offset + part.firstTile * packing.tileRows * stride;
  if (from === packing.format) {
    await source.readInto(offset, buffer.view(0, part.rows * stride));
    return;
  }
  const bytes = await source.read(offset, part.rows * stride);
  const values = dequantizeRows(from, bytes, part.rows, linear.cols);
  const quantized = quantizeRows(packing.format, values, part.rows, linear.cols);
  buffer.view(0, quantized.length).set(quantized);
}

async function packPart(
  program: ModelProgram,
  backend: Backend,
  weights: Region,
  part: Part,
  buffer: Region,
): Promise<void> {
  const { packing, linear } = part.matrix;
  const to = weights.address + program.weights.offset(linear.tensor) + part.firstTile * packing.tileBytes;
  const steps = backend.prepare([
    { kernel: packName(packing), arguments: [buffer.address, to, part.tiles, part.rows], barrier: true },
  ]);
  await backend.run(steps);
}

/** Norm weights as f32, padded with zeros. */
async function loadVectors(
  program: ModelProgram,
  weights: Region,
  file: GgufFile,
  source: ByteSource,
): Promise<void> {
  const { layers, outputNorm } = program.spec;
  for (const name of [...layers.flatMap((l) => [l.attentionNorm, l.feedForwardNorm]), outputNorm]) {
    const values = await readVector(name, file, source);
    const { offset, bytes } = program.weights.part(name);
    const target = weights.view(offset, bytes);
    target.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
}

/** A vector of the file as f32. Throws `FileFormatError` if it is quantized or not finite. */
export async function readVector(name: string, file: GgufFile, source: ByteSource): Promise<Float32Array> {
  const tensor = file.tensors.get(name);
  assert(tensor !== undefined, `no tensor ${name}`);
  const format = formatNamed(tensor.type);
  const length = tensor.shape[0] ?? 0;
  if (format.kind !== "float")
    throw new FileFormatError(source.name, `tensor ${name}`, `a vector of type ${tensor.type}`);
  const values = dequantizeRows(format, await source.read(tensor.offset, tensor.byteLength), 1, length);
  if (!values.every(Number.isFinite)) {
    throw new FileFormatError(source.name, `tensor ${name}`, "has values that are not finite");
  }
  return values;
}
