import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../base/assert.ts";
import { AbortedError, MachineError, UsageError } from "../base/errors.ts";
import { openCacheDir } from "../host/cache-dir.ts";
import { PackedCache, type PackedKey } from "../host/packed-cache.ts";
import { printKernel } from "../ir/print.ts";
import { nameOf } from "../models/model.ts";
import type { Machine } from "../plan/machine.ts";
import type { Backend, Region } from "./backend.ts";
import type { Settling } from "./engine.ts";
import type { EngineOptions, OpenModel } from "./load-model.ts";
import type { ModelProgram } from "./model-program.ts";
import { loadWeights, packKernels } from "./weights.ts";

/** Where "auto" keeps packed files, and of which models. */
export interface PackedPolicy {
  /** Packed bytes from which on a file is written. */
  readonly leastBytes: number;
  readonly openCache: () => PackedCache;
}

/** 64 MiB are read and packed in some 50 to 200 ms, no more than Node needs to start: less is not worth a file. */
const POLICY: PackedPolicy = {
  leastBytes: 64 * 2 ** 20,
  openCache: () => new PackedCache(openCacheDir().path),
};

/** Bytes of a packed file that are handed to the system at once: some half a millisecond of copying. */
const SAVE_BYTES = 2 ** 20;
/** How much longer than it writes a save rests while steps run, which wait for whatever takes one of their cores. */
const SAVE_RESTS = 9;
/** Between two looks at whether weights have moved. */
const POLL_MS = 20;

/** Packed weights in memory, and what is still to be done with them beside the steps. */
export interface PlacedWeights {
  readonly region: Region;
  readonly settling?: Settling;
}

/** A model that is being loaded. */
export interface Loading {
  readonly model: OpenModel;
  readonly program: ModelProgram;
  readonly backend: Backend;
  readonly machine: Machine;
  readonly options: EngineOptions;
}

/** Puts a model's packed weights where `options.placement` says, see there. */
export async function placeWeights(loading: Loading, policy: PackedPolicy = POLICY): Promise<PlacedWeights> {
  switch (loading.options.placement ?? "auto") {
    case "arena":
      return { region: await loadArena(loading) };
    case "mapped":
      return { region: await mapPacked(loading, policy) };
    case "auto":
      return placeInTurn(loading, policy);
  }
}

async function loadArena({ model, program, backend, options }: Loading): Promise<Region> {
  const { onProgress, signal } = options;
  const region = backend.allocate(program.weights.bytes, "weights");
  await loadWeights(program, backend, region, model.file, {
    onProgress: (done, total) => onProgress?.({ stage: "weights", done, total }),
    signal,
  });
  return region;
}

/** Maps the packed file; writes it first where there is none. */
async function mapPacked(loading: Loading, policy: PackedPolicy): Promise<Region> {
  const { backend, options } = loading;
  if (backend.mapFile === undefined) {
    throw new UsageError(`the ${backend.kind} backend cannot map files; use placement "arena"`);
  }
  const key = packedKey(loading);
  if (key === undefined)
    throw new UsageError('weights that are in no file cannot be mapped; use placement "arena"');
  const cache = policy.openCache();
  const found = await cache.find(key);
  if (found !== undefined) return backend.mapFile(found, key.bytes);
  const region = await loadArena(loading);
  await cache.makeRoom(key.bytes);
  const path = await cache.add(key, (write) => writeRegion(region, write, options.signal));
  backend.release(region);
  return backend.mapFile(path, key.bytes);
}

/** The first start fills an arena and leaves a packed file; later ones map that and move it to an arena. */
async function placeInTurn(loading: Loading, policy: PackedPolicy): Promise<PlacedWeights> {
  const { program, backend, machine } = loading;
  const canPay = backend.mapFile !== undefined && program.weights.bytes >= policy.leastBytes;
  const key = canPay ? packedKey(loading) : undefined;
  if (key === undefined) return { region: await loadArena(loading) };
  const cache = policy.openCache();
  const mapped = mapIfPossible(backend, await cache.find(key), key.bytes);
  if (mapped === undefined) {
    const region = await loadArena(loading);
    const run: Settling["run"] = (signal, busy) => save(cache, key, region, signal, busy);
    return { region, settling: { lasting: true, run } };
  }
  if (machine.hugePages === "never") return { region: mapped };
  return { region: mapped, settling: { lasting: false, run: (signal) => move(backend, mapped, signal) } };
}

/** What a packed file is found by, for a model in a file. The kernels that pack stand for the layout of a tile. */
function packedKey({ model: { stamps }, program }: Loading): PackedKey | undefined {
  if (stamps === undefined) return undefined;
  const { matrices, isa, weights } = program;
  const tensors = [...matrices.values()].map(({ packing, source: from, linear }) => [
    nameOf(linear),
    from.name,
    packing.format.name,
    packing.rows,
    packing.cols,
    packing.tile,
    packing.lanes,
  ]);
  const kernels = packKernels(matrices.values(), isa).map((kernel) => printKernel(kernel.generate()));
  return { files: stamps, layout: JSON.stringify([tensors, kernels]), bytes: weights.bytes };
}

/** Some file systems have files that cannot be mapped. */
function mapIfPossible(backend: Backend, path: string | undefined, bytes: number): Region | undefined {
  try {
    return path === undefined ? undefined : backend.mapFile?.(path, bytes);
  } catch (error) {
    if (error instanceof MachineError) return undefined;
    throw error;
  }
}

/** Writes the packed file for later starts, unless another process has done so. */
async function save(
  cache: PackedCache,
  key: PackedKey,
  region: Region,
  signal: AbortSignal,
  busy: () => boolean,
): Promise<void> {
  try {
    if ((await cache.find(key)) !== undefined || !(await cache.makeRoom(key.bytes))) return;
    const writePaced = (write: Write) => async (chunk: Uint8Array) => {
      const start = performance.now();
      await write(chunk);
      if (busy()) await pause(SAVE_RESTS * (performance.now() - start), { signal });
    };
    await cache.add(key, (write) => writeRegion(region, writePaced(write), signal));
  } catch {
    // This run does not need the file: a full disk, or an end before it is written, is no failure.
  }
}

type Write = (chunk: Uint8Array) => Promise<void>;

async function writeRegion(region: Region, write: Write, signal: AbortSignal | undefined): Promise<void> {
  for (let offset = 0; offset < region.bytes; offset += SAVE_BYTES) {
    if (signal?.aborted) throw new AbortedError();
    await write(region.view(offset, Math.min(SAVE_BYTES, region.bytes - offset)));
  }
}

/** Moves mapped weights to huge pages, from which they are read some percent faster. */
async function move(backend: Backend, mapped: Region, signal: AbortSignal): Promise<void> {
  assert(
    backend.moveToHugePages !== undefined,
    `the ${backend.kind} backend maps files but cannot move them`,
  );
  const moving = backend.moveToHugePages(mapped);
  while (!moving.over && !signal.aborted) {
    await pause(POLL_MS, { signal, ref: false });
  }
  moving.stop();
}

/** For so many milliseconds, or until the signal fires. */
async function pause(
  milliseconds: number,
  options: { readonly signal: AbortSignal; readonly ref?: boolean },
): Promise<void> {
  await sleep(milliseconds, undefined, options).catch(() => undefined);
}
