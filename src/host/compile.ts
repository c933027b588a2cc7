import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { assert } from "../base/assert.ts";
import { FileAccessError, MachineError, QigenError } from "../base/errors.ts";
import { prepareCacheDir } from "./cache-dir.ts";
import type { Compiler } from "./compilers.ts";
import { addEntry, findEntry, libraryIn, makeWorkDir, pruneCache } from "./kernel-cache.ts";
import { runTool } from "./tool.ts";

/** One translation unit: a file name without extension, and its C text. */
export interface Unit {
  readonly name: string;
  readonly text: string;
}

/** What a library is made of. */
export interface Sources {
  /** Decides the units: equal keys, equal units. */
  readonly key: string;
  /** Made when the cache has no library of this key, each when a compiler is free. */
  readonly units: () => Iterable<Unit>;
}

/** Units that are at hand: their text is the key. */
export function sourcesOf(units: readonly Unit[]): Sources {
  return { key: JSON.stringify(units.map(({ name, text }) => [name, text])), units: () => units };
}

export interface CompileOptions {
  readonly signal?: AbortSignal | undefined;
  /** Units compiled at once; the logical CPUs this process may use. */
  readonly threads?: number;
  /** For each unit and for the link; 300,000 ms. */
  readonly timeoutMs?: number;
  /** What the cache may grow to, checked after each build; 1 GiB. */
  readonly cacheBytes?: number;
}

export interface Compiled {
  readonly path: string;
  readonly cached: boolean;
  readonly milliseconds: number;
}

/** Part of every cache key: changes when the way of building does. */
const RECIPE = 1;
const STDERR_LINES = 20;

/**
 * Compiles the units of sources to one shared library, or finds it in the cache. Several processes may build the same at once.
 * `flags` are the compiler's ("-O2", "-fPIC", "-ffp-contract=off", "-mavx2", "-lm"); they must name the
 * instruction set in full, since the cache may be shared between machines.
 *
 * @throws MachineError when a unit does not compile (with the compiler's first words) or the cache is not safe
 * @throws FileAccessError when the cache cannot be written
 * @throws AbortedError when the signal fires
 */
export async function compileShared(
  compiler: Compiler,
  sources: Sources,
  flags: readonly string[],
  cacheDir: string,
  options: CompileOptions = {},
): Promise<Compiled> {
  const start = performance.now();
  checkFlags(flags);
  prepareCacheDir(cacheDir);
  const key = keyOf(compiler, sources, flags);
  const found = await findEntry(cacheDir, key);
  const path = found ?? (await build(compiler, checked(sources.units()), flags, cacheDir, key, options));
  if (found === undefined) await pruneCache(cacheDir, options.cacheBytes ?? 2 ** 30);
  return { path, cached: found !== undefined, milliseconds: performance.now() - start };
}

function* checked(units: Iterable<Unit>): Generator<Unit> {
  const names = new Set<string>();
  for (const unit of units) {
    assert(/^\w[\w-]*$/.test(unit.name), `unit name ${JSON.stringify(unit.name)}`);
    assert(!names.has(unit.name), "two units of one name");
    names.add(unit.name);
    yield unit;
  }
  assert(names.size > 0, "nothing to compile");
}

function checkFlags(flags: readonly string[]): void {
  for (const flag of flags) {
    assert(
      !/^-(Ofast|ffast-math|funsafe-math.*|ffp-contract=(on|fast))$/.test(flag),
      `${flag} changes results`,
    );
    assert(!/=native$/.test(flag), `${flag} means another thing on another machine`);
  }
}

function keyOf(compiler: Compiler, sources: Sources, flags: readonly string[]): string {
  const { path, args, version } = compiler;
  const made = [RECIPE, process.platform, process.arch, path, args, version, flags, sources.key];
  return createHash("sha256").update(JSON.stringify(made)).digest("hex");
}

async function build(
  compiler: Compiler,
  units: Generator<Unit>,
  flags: readonly string[],
  cacheDir: string,
  key: string,
  options: CompileOptions,
): Promise<string> {
  let work: string | undefined;
  try {
    work = await makeWorkDir(cacheDir);
    const entry = join(work, "entry");
    await mkdir(entry);
    const objects = await compileUnits(compiler, units, flags, work, options);
    await link(compiler, objects, flags, work, options);
    return await addEntry(cacheDir, key, entry);
  } catch (cause) {
    if (cause instanceof QigenError) throw cause;
    throw new FileAccessError(cacheDir, (cause as Error).message, { cause });
  } finally {
    if (work !== undefined) await rm(work, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Every unit to an object file in `work`, several at once; the first failure stops the others. Returns the files' names. */
async function compileUnits(
  compiler: Compiler,
  units: Generator<Unit>,
  flags: readonly string[],
  work: string,
  options: CompileOptions,
): Promise<string[]> {
  const stop = new AbortController();
  const forward = () => stop.abort();
  options.signal?.addEventListener("abort", forward, { once: true });
  if (options.signal?.aborted) stop.abort();
  const own = flags.filter((flag) => !isForLinker(flag));
  const objects: string[] = [];
  const failures: unknown[] = [];
  const worker = async () => {
    for (const { name, text } of units) {
      objects.push(`${name}.o`);
      await writeFile(join(work, `${name}.c`), text);
      const args = [...own, "-c", `${name}.c`, "-o", `${name}.o`];
      await runCompiler(compiler, args, `compile ${name}.c`, work, { ...options, signal: stop.signal });
    }
  };
  const guarded = () =>
    worker().catch((failure: unknown) => {
      failures.push(failure);
      stop.abort();
    });
  await Promise.all(Array.from({ length: options.threads ?? availableParallelism() }, guarded));
  options.signal?.removeEventListener("abort", forward);
  if (failures.length > 0) throw failures[0];
  return objects;
}

/** Libraries come after the objects that need them, or a linker run with --as-needed drops them. */
async function link(
  compiler: Compiler,
  objects: readonly string[],
  flags: readonly string[],
  work: string,
  options: CompileOptions,
): Promise<void> {
  const own = flags.filter((flag) => !isForLinker(flag));
  const forLinker = flags.filter((flag) => isForLinker(flag) && flag !== "-shared");
  const args = [...own, "-shared", ...objects, ...forLinker, "-o", libraryIn("entry")];
  await runCompiler(compiler, args, "link the kernels", work, options);
}

function isForLinker(flag: string): boolean {
  return flag === "-shared" || /^-(l|L|Wl,)/.test(flag);
}

/**
 * In `work` and with relative names, so that no path ends up in the library; the compiler's own temporary files
 * go there too, so that a build that was killed leaves nothing elsewhere.
 */
async function runCompiler(
  compiler: Compiler,
  args: readonly string[],
  what: string,
  work: string,
  options: CompileOptions,
): Promise<void> {
  const { signal, timeoutMs = 300_000 } = options;
  const env = { ...process.env, TMPDIR: work };
  const result = await runTool(compiler.path, [...compiler.args, ...args], {
    cwd: work,
    env,
    signal,
    timeoutMs,
  });
  if (result.ok) return;
  const lines = result.stderr.trim().split("\n");
  const rest = lines.length > STDERR_LINES ? [`… ${lines.length - STDERR_LINES} more lines`] : [];
  const said = [...lines.slice(0, STDERR_LINES), ...rest].join("\n");
  throw new MachineError(
    `${compiler.path} (${compiler.version}) could not ${what}: ${result.reason}${said ? `\n${said}` : ""}`,
  );
}
