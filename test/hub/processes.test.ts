import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, beforeEach, expect, type TestContext, test } from "vitest";
import { temporaryFolder } from "../cli/harness.ts";
import { dropAfter, FakeHub, sha256, stallAfter } from "./hub-server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const built = existsSync(join(root, "dist/cli/main.js"));
const folder = temporaryFolder();
const MODEL = randomBytes(3_000_000);
let hub: FakeHub;
let homes = 0;
let home = "";

beforeAll(async () => {
  hub = await FakeHub.start();
});

beforeEach(() => {
  hub.reset();
  hub.add("org/tiny", { "m.gguf": MODEL });
  home = join(folder, `home-${homes++}`);
});

const FROM = /^bytes=(\d+)-$/;

const blobs = () => join(home, "hub/models--org--tiny/blobs");

/** `qigen pull` as a process of its own. */
function qigenPull(context: TestContext, onStart: (child: ChildProcess) => void = () => {}) {
  context.skip(!built, "not built: npm run build");
  const child = spawn(process.execPath, [join(root, "bin/qigen.js"), "pull", "hf:org/tiny"], {
    env: { ...process.env, HF_HOME: home, HF_ENDPOINT: hub.endpoint },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (text) => {
    stdout += text;
  });
  child.stderr?.on("data", (text) => {
    stderr += text;
  });
  onStart(child);
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

test("processes that pull the same file at once", async (context) => {
  hub.fail("m.gguf", dropAfter(1_000_000), dropAfter(1_000_000));
  const results = await Promise.all([qigenPull(context), qigenPull(context), qigenPull(context)]);
  for (const { code, stdout, stderr } of results) {
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(readFileSync(stdout.trimEnd()).equals(MODEL)).toBe(true);
  }
  expect(readdirSync(blobs())).toEqual([sha256(MODEL)]);
  const ranges = hub.stored.map(({ range }) => range);
  expect(ranges).toEqual([undefined, expect.stringMatching(FROM), expect.stringMatching(FROM)]);
  // What had come when the connection broke is kept, but for what nobody had read yet.
  const [, first = 0, second = 0] = ranges.map((range) => Number(FROM.exec(range ?? "")?.[1] ?? 0));
  expect([first, second - first].every((bytes) => bytes > 500_000 && bytes <= 1_000_000)).toBe(true);
});

test("Ctrl-C leaves what is here to the next pull", async (context) => {
  let child: ChildProcess | undefined;
  hub.fail(
    "m.gguf",
    stallAfter(1_000_000, () => child?.kill("SIGINT")),
  );
  const stopped = await qigenPull(context, (started) => {
    child = started;
  });
  expect(stopped).toMatchObject({ code: 130, stdout: "" });
  expect(stopped.stderr).toMatch(/977 KiB of 2\.86 MiB are here; the next pull goes on from there\n$/);
  expect((await qigenPull(context)).code).toBe(0);
  expect(hub.stored.at(-1)?.range).toBe("bytes=1000000-");
});

test("a process that is killed leaves it too", async (context) => {
  let child: ChildProcess | undefined;
  hub.fail(
    "m.gguf",
    stallAfter(1_000_000, () => child?.kill("SIGKILL")),
  );
  await qigenPull(context, (started) => {
    child = started;
  });
  const [part = ""] = readdirSync(blobs());
  const before = new Date(Date.now() - 60_000);
  utimesSync(join(blobs(), part), before, before);
  const { code, stdout } = await qigenPull(context);
  expect(code).toBe(0);
  expect(readFileSync(stdout.trimEnd()).equals(MODEL)).toBe(true);
  // What the process had been sent, or less: bytes on their way to the file died with it.
  expect(hub.stored.at(-1)?.range).toMatch(/^bytes=[1-9]\d{3,6}-$/);
});
