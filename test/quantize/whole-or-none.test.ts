import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, expect, type TestContext, test, vi } from "vitest";
import { FileAccessError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { needNative } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const built = existsSync(join(root, "dist/cli/main.js"));
const folder = temporaryFolder();
const [model, text] = [join(folder, "small.gguf"), join(folder, "text.txt")];
const KILLS = 20;
/** Part of the time that a run took: on a shared machine the next may be done sooner. */
const SOONER = 0.8;

beforeAll(async () => {
  const rng = new Rng(7);
  writeFileSync(
    text,
    Array.from({ length: 20_000 }, () => "abcdefghij klmnop qrst"[rng.integer(22)]).join(""),
  );
  const shape = { hiddenSize: 128, intermediateSize: 256, heads: 4, kvHeads: 2, vocabularySize: 300 };
  const contents = { architecture: "llama", layers: 3, contextLength: 128, format: "F32", ...shape } as const;
  await saveGguf(model, randomModel(contents));
});

afterEach(() => {
  vi.restoreAllMocks();
});

interface Run {
  readonly code: number | null;
  readonly seconds: number;
  /** When something was first seen beside the other files of the folder: the result, in the making. */
  readonly firstSeen: number;
}

/** `qigen quantize` as a process of its own, which gets a signal after so many seconds. */
async function quantizeApart(path: string, format: string, signal?: NodeJS.Signals, after = 0): Promise<Run> {
  const options = ["--calibration", text, "--samples", "16", "--context", "64"];
  if (format === "gptq") options.push("--group-size", "32");
  const args = [join(root, "bin/qigen.js"), "quantize", model, path, "--format", format, ...options];
  const before = readdirSync(join(path, "..")).length;
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const child = spawn(process.execPath, [...args, "--threads", "2", "--quiet"], { stdio: "ignore" });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const timer = signal === undefined ? undefined : setTimeout(() => child.kill(signal), 1000 * after);
  let firstSeen = 0;
  while (child.exitCode === null && child.signalCode === null) {
    if (firstSeen === 0 && readdirSync(join(path, "..")).length > before) firstSeen = seconds();
    await sleep(2);
  }
  const code = await ended;
  clearTimeout(timer);
  return { code, seconds: seconds(), firstSeen };
}

/** All bytes of a model but the record of its making, which has the seconds that it took. */
function contents(path: string): string {
  if (!statSync(path).isDirectory()) return readFileSync(path, "base64");
  const names = readdirSync(path).sort();
  const parts = names.map((name) =>
    name === "quantize_report.json" ? "" : readFileSync(join(path, name), "base64"),
  );
  return [...names, ...parts].join("\n");
}

async function needProcesses(context: TestContext): Promise<void> {
  context.skip(!built, "not built: npm run build");
  await needNative(context);
}

test.for([
  ["gptq", "model"],
  ["gguf:q4_0", "model.gguf"],
] as const)(
  "killed or interrupted while it makes %s, it leaves the whole model or none",
  {
    timeout: 120_000,
  },
  async ([format, name], context) => {
    await needProcesses(context);
    const own = join(folder, format.replace(":", "-"));
    mkdirSync(own);
    const path = join(own, name);
    // The first run compiles kernels, which the others find in the cache.
    await quantizeApart(path, format);
    rmSync(path, { recursive: true });
    const undisturbed = await quantizeApart(path, format);
    expect(undisturbed.code).toBe(0);
    const [whole, made] = [contents(path), readdirSync(own).sort()];
    const rng = new Rng(11);
    let stopped = 0;
    for (let i = 0; i < KILLS / 2; i++) {
      rmSync(path, { recursive: true, force: true });
      const signal = i % 2 === 0 ? "SIGKILL" : "SIGINT";
      // From the start of the process to its end, but most of the times while the result is in the making.
      const from = i % 5 === 0 ? 0 : undisturbed.firstSeen;
      const { code } = await quantizeApart(
        path,
        format,
        signal,
        from + rng.uniform() * (SOONER * undisturbed.seconds - from),
      );
      if (code !== 0) stopped++;
      if (existsSync(path)) expect(contents(path) === whole).toBe(true);
      else expect(code).not.toBe(0);
      const left = readdirSync(own).filter((file) => !made.includes(file));
      // In its first moments a process has no handlers: the signal itself ends it.
      if (signal === "SIGINT") expect([0, 130, null]).toContain(code);
      // What a killed process left is in a temporary folder, and goes with the next run.
      expect(left.filter((file) => !/^\.model\S*\.\d+\.[0-9a-f]{8}\.tmp$/.test(file))).toEqual([]);
    }
    expect(stopped).toBeGreaterThan(KILLS / 10);
    rmSync(path, { recursive: true, force: true });
    expect((await quantizeApart(path, format)).code).toBe(0);
    expect(contents(path) === whole).toBe(true);
    expect(readdirSync(own).sort()).toEqual(made);
  },
);

/** From so many bytes on, files take no more. */
async function fillDisk(room: number): Promise<void> {
  const probe = await open(join(folder, "probe"), "w");
  const prototype: Pick<FileHandle, "write"> = Object.getPrototypeOf(probe);
  await probe.close();
  const { write } = prototype;
  let written = 0;
  vi.spyOn(prototype, "write").mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
    if (written > room) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    const result = await Reflect.apply(write, this, args);
    written += result.bytesWritten;
    return result;
  } as typeof write);
}

test.each([
  ["gptq", 0],
  ["gptq", 100_000],
  ["gguf:q8_0", 100_000],
] as const)("a disk that is full while it writes %s, after %i bytes", async (format, room) => {
  const own = join(folder, `full-${format.replace(":", "-")}-${room}`);
  mkdirSync(own);
  const path = join(own, "model");
  await fillDisk(room);
  const failure = quantize(model, path, {
    method: "rtn",
    format,
    ...(format === "gptq" ? { groupSize: 32 } : {}),
  });
  await expect(failure).rejects.toThrow(FileAccessError);
  await expect(failure).rejects.toThrow(/no space left on the device$/);
  expect(readdirSync(own)).toEqual([]);
});
