import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { loadModel } from "../../src/api/index.ts";
import { pullProgressOn } from "../../src/cli/hub-model.ts";
import { Interrupts } from "../../src/cli/io.ts";
import { Status } from "../../src/cli/status.ts";
import { durationText } from "../../src/plan/text.ts";
import { dropAfter, FakeHub, ignoreRange, stallAfter } from "../hub/hub-server.ts";
import {
  CHAT_TEMPLATE,
  type CliResult,
  Collected,
  cli,
  saveGguf,
  temporaryFolder,
  tinyLlama,
} from "./harness.ts";

const folder = temporaryFolder();
let model: Buffer;
let hub: FakeHub;
let homes = 0;
let home = "";
const WASM = ["--backend", "wasm"];

beforeAll(async () => {
  hub = await FakeHub.start();
  model = readFileSync(
    await saveGguf(join(folder, "m.gguf"), tinyLlama({ "tokenizer.chat_template": CHAT_TEMPLATE })),
  );
});

beforeEach(() => {
  home = join(folder, `home-${homes++}`);
  hub.reset();
  hub.add("org/tiny", { "tiny-Q4_0.gguf": model, "tiny-Q8_0.gguf": Buffer.alloc(5000), "README.md": "x" });
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  vi.stubEnv("HF_HOME", home);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const repository = () => join(home, "hub/models--org--tiny");

describe("a model of the hub in place of a file", () => {
  test("run, after a connection that drops", async () => {
    hub.fail("tiny-Q4_0.gguf", dropAfter(2000));
    const { code, stdout, stderr } = await cli([
      "run",
      "hf:org/tiny",
      "-p",
      "bada",
      "-n",
      "5",
      "--seed",
      "1",
      ...WASM,
    ]);
    expect(code).toBe(0);
    expect(stdout).not.toBe("");
    expect(stderr).toMatch(/^downloading 1 file, .* KiB, of hf:org\/tiny\nrunning on wasm/);
    expect(hub.stored.map(({ range }) => range)).toEqual([undefined, "bytes=2000-"]);
    const again = await cli(["run", "hf:org/tiny", "-p", "bada", "-n", "5", "--seed", "1", ...WASM]);
    expect(again.stdout).toBe(stdout);
    expect(again.stderr).toMatch(/^running on wasm/);
  });

  test.each([
    [["explain", "hf:org/tiny/tiny-Q4_0.gguf"]],
    [["bench", "hf:org/tiny", ...WASM, "--prompt-tokens", "4", "--gen-tokens", "2", "--repeat", "1"]],
    [["chat", "hf:org/tiny", ...WASM, "-n", "3"]],
  ])("%j", async (args) => {
    const { code, stderr } = await cli(args, { stdin: "hello\n" });
    expect(stderr).toMatch(/^downloading 1 file/);
    expect(code).toBe(0);
  });

  test("inspect reads the headers where they are, and the cache's files where it has them", async () => {
    const remote = await cli(["inspect", "hf:org/tiny:Q4_0"]);
    expect(remote.stdout).toMatch(/^file +hf:org\/tiny:Q4_0\n/);
    expect(existsSync(repository())).toBe(false);
    expect(hub.stored.every(({ range }) => range?.startsWith("bytes=") === true)).toBe(true);
    await cli(["pull", "hf:org/tiny:Q4_0"]);
    const local = await cli(["inspect", "hf:org/tiny:Q4_0"]);
    const rest = ({ stdout }: CliResult) => stdout.slice(stdout.indexOf("\n"));
    expect(rest(local)).toBe(rest(remote));
  });

  test("inspect does not download folders of safetensors", async () => {
    hub.add("org/safe", { "config.json": "{}", "model.safetensors": "1234" });
    const { code, stderr } = await cli(["inspect", "hf:org/safe"]);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining("hf:org/safe is a folder of safetensors, which is not read over the network"),
    ]);
  });

  test("inspect says where a server has no parts of files", async () => {
    hub.fail("tiny-Q4_0.gguf", ignoreRange);
    const { code, stderr } = await cli(["inspect", "hf:org/tiny:Q4_0"]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("the server does not send parts of files")]);
  });

  test("in the library, with progress", async () => {
    const done: number[] = [];
    await using loaded = await loadModel("hf:org/tiny", {
      backend: "wasm",
      onDownload: (p) => done.push(p.done),
    });
    expect(loaded.path.startsWith(join(repository(), "snapshots"))).toBe(true);
    expect(done.at(-1)).toBe(model.length);
  });

  test("what goes wrong is one line, and exit code 1", async () => {
    hub.add("org/tiny", { "tiny-Q4_0.gguf": model }, { gatedTo: "hf_right" });
    const gated = await cli(["run", "hf:org/tiny"]);
    expect(gated).toMatchObject({ code: 1, stdout: "" });
    expect(gated.stderr).toMatch(/\nqigen: org\/tiny: is gated: log in and accept its terms at .*\n$/);
    const absent = await cli(["run", "hf:org/absent"]);
    expect(absent).toMatchObject({ code: 1, stdout: "" });
    expect(absent.stderr).toMatch(/^qigen: org\/absent: does not exist or is private.*\n$/);
  });
});

describe("pull", () => {
  test("prints where the file is; --json, --quiet", async () => {
    const { code, stdout } = await cli(["pull", "hf:org/tiny"]);
    expect(code).toBe(0);
    expect(readFileSync(stdout.trimEnd()).equals(model)).toBe(true);
    const json = await cli(["pull", "hf:org/tiny:Q8_0", "--json", "--quiet"]);
    expect(json.stderr).toBe("");
    const schema = z.strictObject({
      path: z.string(),
      repository: z.literal("org/tiny"),
      commit: z.string().regex(/^[0-9a-f]{40}$/),
      files: z.tuple([z.literal("tiny-Q8_0.gguf")]),
    });
    expect(readFileSync(schema.parse(JSON.parse(json.stdout)).path)).toHaveLength(5000);
  });

  test("Ctrl-C keeps what is here, and says so", async () => {
    const interrupts = new Interrupts();
    hub.fail(
      "tiny-Q4_0.gguf",
      stallAfter(2048, () => interrupts.fire()),
    );
    const { code, stdout, stderr } = await cli(["pull", "hf:org/tiny"], { interrupts });
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    expect(stderr).toMatch(/\n2\.00 KiB of .* are here; the next pull goes on from there\n$/);
    expect((await cli(["pull", "hf:org/tiny"])).code).toBe(0);
    expect(hub.stored.at(-1)?.range).toBe("bytes=2048-");
  });

  test("several that fit are wrong usage, with the choices", async () => {
    hub.add("org/tiny", { "a-Q4_0.gguf": "x", "b-Q4_0.gguf": "x" });
    const { code, stderr } = await cli(["pull", "hf:org/tiny"]);
    expect(code).toBe(2);
    expect(stderr).toBe(
      "qigen: org/tiny: several files fit; choose one:\n  hf:org/tiny/a-Q4_0.gguf\n  hf:org/tiny/b-Q4_0.gguf\n",
    );
  });
});

describe("list", () => {
  const schema = z.array(
    z.strictObject({
      reference: z.string(),
      repository: z.string(),
      kind: z.enum(["gguf", "safetensors", "unfinished"]),
      architecture: z.string().optional(),
      path: z.string(),
      bytes: z.int(),
      lastUsed: z.iso.datetime(),
    }),
  );
  const list = async () => schema.parse(JSON.parse((await cli(["list", "--json"])).stdout));

  test("nothing", async () => {
    expect((await cli(["list"])).stdout).toBe("no models; qigen pull hf:owner/name downloads one\n");
    expect(await list()).toEqual([]);
  });

  test("files, split files, folders, revisions, what is unfinished; not other things", async () => {
    const parts = { "s-00001-of-00002.gguf": "12", "s-00002-of-00002.gguf": "345" };
    hub.add("org/tiny", { "tiny-Q4_0.gguf": model, ...parts });
    hub.add("org/safe", { "config.json": '{"model_type":"llama"}', "model.safetensors": "1234" });
    for (const reference of ["hf:org/tiny", "hf:org/tiny/s-00001-of-00002.gguf", "hf:org/safe"]) {
      expect((await cli(["pull", reference])).code).toBe(0);
    }
    hub.add("org/tiny", { "tiny-Q4_0.gguf": model, "README.md": "new" });
    await cli(["pull", "hf:org/tiny"]);
    mkdirSync(join(home, "hub/datasets--a--b"));
    mkdirSync(join(home, "hub/models--bert"));
    writeFileSync(join(repository(), "blobs/00.qigen-00.incomplete"), "1234567");
    const models = await list();
    const old = models.find(({ reference }) => reference.includes("@"))?.reference.slice(-40);
    const told = models.map(({ reference, kind, architecture, bytes }) => [
      reference,
      kind,
      architecture,
      bytes,
    ]);
    expect(told.sort()).toEqual(
      [
        ["hf:org/safe", "safetensors", "llama", 26],
        ["hf:org/tiny", "unfinished", undefined, 7],
        ["hf:org/tiny/tiny-Q4_0.gguf", "gguf", "llama", model.length],
        [`hf:org/tiny/s-00001-of-00002.gguf@${old}`, "gguf", undefined, 5],
        [`hf:org/tiny/tiny-Q4_0.gguf@${old}`, "gguf", "llama", model.length],
      ].sort(),
    );
    const { stdout } = await cli(["list"]);
    expect(stdout).toMatch(/^model +architecture +size {2}last used\nhf:org\/safe +llama +26\.0 B {2}now\n/);
    expect(stdout).toMatch(/^hf:org\/tiny \(a download that has not ended\) /m);
  });

  test("last used is when it was last asked for", async () => {
    const { stdout } = await cli(["pull", "hf:org/tiny"]);
    const then = new Date(Date.now() - 5 * 24 * 3600 * 1000);
    utimesSync(stdout.trimEnd(), then, then);
    expect((await cli(["list"])).stdout).toContain("  5 days ago\n");
    expect((await cli(["list"])).stdout).toContain("  5 days ago\n");
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    await cli(["inspect", "hf:org/tiny"]);
    expect((await cli(["list"])).stdout).toContain("  now\n");
  });
});

describe("rm", () => {
  beforeEach(async () => {
    for (const type of ["Q4_0", "Q8_0"]) await cli(["pull", `hf:org/tiny:${type}`]);
  });
  const blobs = () => readdirSync(join(repository(), "blobs"));

  test("a model, its bytes, and at the end the repository", async () => {
    expect(await cli(["rm", "hf:org/tiny:q8_0", "--yes"])).toEqual({
      code: 0,
      stdout: "",
      stderr: "removed 4.88 KiB of org/tiny\n",
    });
    expect(blobs()).toHaveLength(1);
    expect((await cli(["rm", "hf:org/tiny:Q8_0", "--yes"])).stderr).toMatch(
      /has no GGUF file of type Q8_0; it has:/,
    );
    expect((await cli(["rm", "hf:org/tiny", "-y"])).code).toBe(0);
    expect(existsSync(repository())).toBe(false);
    expect(await cli(["rm", "hf:org/tiny", "-y"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is not in the cache/),
    });
  });

  test("bytes that another revision has stay", async () => {
    hub.add("org/tiny", { "tiny-Q4_0.gguf": model, "README.md": "new" });
    await cli(["pull", "hf:org/tiny"]);
    const [first, second] = readdirSync(join(repository(), "snapshots"));
    const main = readFileSync(join(repository(), "refs/main"), "utf8");
    const old = main === first ? second : first;
    expect((await cli(["rm", `hf:org/tiny@${old}`, "-y"])).stderr).toBe("removed 4.88 KiB of org/tiny\n");
    expect(readdirSync(join(repository(), "snapshots"))).toEqual([main]);
    expect(blobs()).toHaveLength(1);
    expect((await cli(["rm", "hf:org/tiny@main", "-y"])).code).toBe(0);
    expect(blobs()).toEqual([]);
    expect(readdirSync(join(repository(), "refs"))).toEqual([]);
  });

  test("asks on a terminal; elsewhere it wants --yes", async () => {
    const refused = await cli(["rm", "hf:org/tiny"]);
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--yes removes without a question/),
    });
    for (const [answer, left] of [
      ["\n", true],
      ["n\n", true],
      ["Y\n", false],
    ] as const) {
      const { code, stderr } = await answered(answer);
      expect(code).toBe(0);
      expect(stderr).toContain("org/tiny: 2 files, ");
      expect(stderr).toContain("\n  tiny-Q4_0.gguf\n  tiny-Q8_0.gguf\nRemove? (y/N) ");
      expect(existsSync(repository())).toBe(left);
    }
  });

  test("never follows links", async () => {
    const outside = join(folder, `outside-${homes}`);
    mkdirSync(outside);
    const precious = join(outside, "precious.gguf");
    writeFileSync(precious, "precious");
    const [commit = ""] = readdirSync(join(repository(), "snapshots"));
    symlinkSync(precious, join(repository(), "snapshots", commit, "link.gguf"));
    symlinkSync(outside, join(repository(), "snapshots", commit, "folder"));
    symlinkSync(precious, join(repository(), "blobs", "b"));
    symlinkSync("../../blobs/b", join(repository(), "snapshots", commit, "chain.gguf"));
    for (const name of ["link.gguf", "chain.gguf"]) {
      expect((await cli(["rm", `hf:org/tiny/${name}`, "-y"])).stderr).toBe("removed 0 B of org/tiny\n");
      expect(existsSync(precious)).toBe(true);
    }
    expect((await cli(["rm", "hf:org/tiny/folder/precious.gguf", "-y"])).code).toBe(1);
    expect((await cli(["rm", "hf:org/tiny", "-y"])).code).toBe(0);
    expect(existsSync(repository())).toBe(false);
    expect(readFileSync(precious, "utf8")).toBe("precious");
    symlinkSync(outside, repository());
    expect(await cli(["rm", "hf:org/tiny", "-y"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/leads elsewhere; remove it by hand/),
    });
    expect(existsSync(precious)).toBe(true);
  });
});

/** `qigen rm` with somebody at the terminal. */
function answered(answer: string): Promise<CliResult> {
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  stdin.write(answer);
  return cli(["rm", "hf:org/tiny"], { stdin });
}

describe("progress", () => {
  test("rate and time left, of what was downloaded now", () => {
    vi.useFakeTimers();
    try {
      const terminal = Object.assign(new Collected(), { isTTY: true, columns: 100 });
      const status = new Status(terminal, "asking the hub");
      const progress = pullProgressOn(status);
      const total = 1000 << 20;
      progress({ stage: "checking", file: "m", done: 500 << 20, total });
      vi.advanceTimersByTime(1000);
      expect(terminal.text).toMatch(/checking what is here █{12}░{12} {2}50 % of 1000 MiB$/);
      for (let second = 0; second <= 20; second++) {
        progress({ stage: "downloading", file: "m", done: (500 + 10 * second) << 20, total });
        vi.advanceTimersByTime(1000);
      }
      expect(terminal.text).toMatch(
        /downloading █{17}░{7} {2}70 % of 1000 MiB, (?:9\.\d\d|10\.0) MiB\/s, 3\d s left$/,
      );
      progress({ stage: "waiting", file: "m", done: 0, total });
      vi.advanceTimersByTime(1000);
      expect(terminal.text).toMatch(/another process downloads this file, waiting ░{24} {3}0 %$/);
      status.done();
    } finally {
      vi.useRealTimers();
    }
  });

  test.each([
    [0, "0 s"],
    [59.1, "1 min 0 s"],
    [61, "1 min 1 s"],
    [7500, "2 h 5 min"],
  ])("%d s", (seconds, text) => {
    expect(durationText(seconds)).toBe(text);
  });
});
