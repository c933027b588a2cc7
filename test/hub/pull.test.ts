import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import { scanCacheDir } from "@huggingface/hub";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  AbortedError,
  FileAccessError,
  NetworkError,
  RepositoryError,
  UsageError,
} from "../../src/base/errors.ts";
import { type PulledModel, type PullOptions, type PullSurroundings, pull } from "../../src/hub/pull.ts";
import type { PullProgress } from "../../src/hub/transfer.ts";
import { temporaryFolder } from "../cli/harness.ts";
import {
  busy,
  commitOf,
  dropAfter,
  FakeHub,
  filesOf,
  ignoreRange,
  sendInstead,
  sha256,
  stallAfter,
} from "./hub-server.ts";

const folder = temporaryFolder();
const MODEL = randomBytes(300_000);
const REF = "hf:org/tiny/model.gguf";
let hub: FakeHub;
let caches = 0;
let home = "";
let waits: number[] = [];

beforeAll(async () => {
  hub = await FakeHub.start();
});

beforeEach(() => {
  hub.reset();
  hub.add("org/tiny", { "model.gguf": MODEL, "README.md": "hello" });
  home = join(folder, `home-${caches++}`);
  waits = [];
});

const env = () => ({ HF_HOME: home, HF_ENDPOINT: hub.endpoint });

function get(
  model = REF,
  options: PullOptions = {},
  around: Partial<PullSurroundings> = {},
): Promise<PulledModel> {
  return pull(model, options, {
    env: env(),
    freeBytes: async () => 2 ** 40,
    pause: async (ms, signal) => {
      waits.push(ms);
      if (signal?.aborted) throw new AbortedError();
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
    ...around,
  });
}

const offline = () => ({ env: { ...env(), HF_HUB_OFFLINE: "1" } });
const repository = () => join(home, "hub/models--org--tiny");
const blobs = () => readdirSync(join(repository(), "blobs"));

describe("what is downloaded", () => {
  test("lies in the cache as other programs expect it", async () => {
    const { path, commit } = await get();
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(commit).toBe(commitOf(filesOf({ "model.gguf": MODEL, "README.md": "hello" })));
    expect(path).toBe(join(repository(), "snapshots", commit, "model.gguf"));
    expect(readlinkSync(path)).toBe(`../../blobs/${sha256(MODEL)}`);
    expect(readFileSync(join(repository(), "refs/main"), "utf8")).toBe(commit);
    expect(blobs()).toEqual([sha256(MODEL)]);
    const { repos, warnings } = await scanCacheDir(join(home, "hub"));
    expect(warnings).toEqual([]);
    expect(repos).toMatchObject([
      {
        id: { name: "org/tiny", type: "model" },
        size: MODEL.length,
        revisions: [{ commitOid: commit, refs: ["main"] }],
      },
    ]);
  });

  test("is downloaded once", async () => {
    const first = await get();
    expect(await get()).toEqual(first);
    expect(hub.stored).toHaveLength(1);
  });

  test("is used where another program has put it", async () => {
    const { commit } = await get();
    const other = join(repository(), "snapshots", commit, "other.gguf");
    hub.add("org/tiny", { "model.gguf": MODEL, "other.gguf": MODEL });
    const { path } = await get("hf:org/tiny/other.gguf");
    expect(path).not.toBe(other);
    expect(realpathSync(path)).toBe(realpathSync(join(repository(), "blobs", sha256(MODEL))));
    expect(hub.stored).toHaveLength(1);
  });

  test("small files have git's hash, names may need escapes, folders stay", async () => {
    hub.add("org/tiny", { "sub folder/a #1?.gguf": "small", "empty.gguf": "" });
    const { path } = await get("hf:org/tiny/sub folder/a #1?.gguf");
    expect(readFileSync(path, "utf8")).toBe("small");
    expect(path.endsWith("/sub folder/a #1?.gguf")).toBe(true);
    expect(readFileSync((await get("hf:org/tiny/empty.gguf")).path)).toHaveLength(0);
  });

  test("a split file comes with all parts", async () => {
    const parts = [1, 2, 3].map((i) => [`q8/m-Q8_0-0000${i}-of-00003.gguf`, randomBytes(2000)] as const);
    hub.add("org/tiny", Object.fromEntries(parts));
    const { path, files } = await get("hf:org/tiny:q8_0");
    expect(files).toEqual(parts.map(([name]) => name));
    expect(path.endsWith(parts[0]?.[0] ?? "")).toBe(true);
    for (const [name, bytes] of parts)
      expect(readFileSync(join(dirname(path), "..", name)).equals(bytes)).toBe(true);
  });

  test("of safetensors: configuration, tokenizer, and what the index names", async () => {
    const index = JSON.stringify({ weight_map: { a: "model-1.safetensors", b: "model-2.safetensors" } });
    const wanted = {
      "config.json": "{}",
      "generation_config.json": "{}",
      "tokenizer.json": "{}",
      "tokenizer.model": "x",
      "tokenizer_config.json": "{}",
      "chat_template.jinja": "x",
      "model.safetensors.index.json": index,
      "model-1.safetensors": randomBytes(3000),
      "model-2.safetensors": randomBytes(3000),
    };
    const others = {
      "consolidated.safetensors": "no",
      "pytorch_model.bin": "no",
      "onnx/config.json": "{}",
      "a.py": "no",
    };
    hub.add("org/tiny", { ...wanted, ...others });
    const { path, files } = await get("hf:org/tiny");
    expect(path).toBe(join(repository(), "snapshots", commitOf(filesOf({ ...wanted, ...others }))));
    expect(readdirSync(path).sort()).toEqual(Object.keys(wanted).sort());
    expect([...files].sort()).toEqual(Object.keys(wanted).sort());
    expect(await get("hf:org/tiny", {}, offline())).toMatchObject({ path });
  });

  test("a branch, a tag with a slash, a commit", async () => {
    const old = filesOf({ "model.gguf": "old" });
    hub.add("org/tiny", { "model.gguf": MODEL }, { revisions: new Map([["refs/pr/1", old]]) });
    const { path, commit } = await get(`${REF}@refs/pr/1`);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readFileSync(join(repository(), "refs/refs/pr/1"), "utf8")).toBe(commit);
    hub.seen.length = 0;
    expect(await get(`${REF}@${commit}`)).toMatchObject({ path });
    expect(hub.seen).toEqual([]);
    await expect(get(`${REF}@v9`)).rejects.toMatchObject({
      reason: "missing",
      message: expect.stringMatching(/no such revision/),
    });
  });

  test("a newer commit keeps the bytes that are the same", async () => {
    await get();
    hub.add("org/tiny", { "model.gguf": MODEL, "README.md": "changed" });
    await get();
    expect(readdirSync(join(repository(), "snapshots"))).toHaveLength(2);
    expect(hub.stored).toHaveLength(1);
  });
});

describe("bad connections", () => {
  test("dropped in the middle: goes on where it was", async () => {
    hub.fail("model.gguf", dropAfter(100_000), dropAfter(50_000), dropAfter(0));
    const { path } = await get();
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(hub.stored.map(({ range }) => range)).toEqual([
      undefined,
      "bytes=100000-",
      "bytes=150000-",
      "bytes=150000-",
    ]);
    expect(waits).toEqual([500, 500, 1000]);
  });

  test("a connection that goes silent is given up", async () => {
    hub.fail("model.gguf", stallAfter(100_000));
    const { path } = await get(REF, {}, { env: { ...env(), HF_HUB_DOWNLOAD_TIMEOUT: "0.3" } });
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(hub.stored.map(({ range }) => range)).toEqual([undefined, "bytes=100000-"]);
  });

  test("a server that ignores ranges", async () => {
    hub.fail("model.gguf", dropAfter(100_000), ignoreRange);
    expect(readFileSync((await get()).path).equals(MODEL)).toBe(true);
  });

  test("429 and 503 are waited for, as long as they say", async () => {
    const api = `/api/models/org/tiny/revision/main`;
    hub.fail(api, busy(429, "7"), busy(503));
    hub.fail("model.gguf", busy(503, new Date(Date.now() + 20_000).toUTCString()));
    await get();
    expect(waits.slice(0, 2)).toEqual([7000, 1000]);
    expect(waits[2]).toBeGreaterThan(15_000);
    expect(waits[2]).toBeLessThanOrEqual(20_000);
    hub.fail(api, busy(429, "3600"));
    await expect(get("hf:org/tiny:Q8_0")).rejects.toThrow(/the server answers 429/);
    expect(waits).toHaveLength(3);
  });

  test("gives up, and the next pull goes on", async () => {
    hub.fail("model.gguf", dropAfter(100_000), ...Array.from({ length: 6 }, () => busy(502)));
    const failure = get();
    await expect(failure).rejects.toThrow(NetworkError);
    await expect(failure).rejects.toThrow(
      /\/resolve\/.*model\.gguf: the server answers 502 .*, 6 times in a row/,
    );
    expect(existsSync(join(repository(), "refs"))).toBe(false);
    expect(await scanNames()).toEqual([]);
    const seen: PullProgress[] = [];
    await get(REF, { onProgress: (progress) => seen.push(progress) });
    expect(hub.stored.at(-1)?.range).toBe("bytes=100000-");
    expect(seen[0]).toMatchObject({ stage: "checking", file: "model.gguf", total: MODEL.length });
    expect(seen.filter(({ stage }) => stage === "checking").at(-1)?.done).toBe(100_000);
    expect(seen.at(-1)).toEqual({
      stage: "downloading",
      file: "model.gguf",
      done: MODEL.length,
      total: MODEL.length,
    });
    expect(blobs()).toEqual([sha256(MODEL)]);
  });

  test("an abort in the middle: the next pull goes on", async () => {
    const stop = new AbortController();
    hub.fail(
      "model.gguf",
      stallAfter(100_000, () => stop.abort()),
    );
    await expect(get(REF, { signal: stop.signal })).rejects.toThrow(AbortedError);
    await expect(get(REF, { signal: stop.signal })).rejects.toThrow(AbortedError);
    await get();
    expect(hub.stored.map(({ range }) => range)).toEqual([undefined, "bytes=100000-"]);
  });

  test("a hub that is not there: the cache is used, with a notice; else the error says why", async () => {
    const gone = { env: { ...env(), HF_ENDPOINT: await closedPort() } };
    await expect(get(REF, {}, gone)).rejects.toThrow(
      /^http.*\/org\/tiny\/revision\/main: the connection was refused$/,
    );
    const { path } = await get();
    const notices: string[] = [];
    expect(await get(REF, { onNotice: (line) => notices.push(line) }, gone)).toMatchObject({ path });
    expect(notices).toEqual([expect.stringMatching(/refused; using what is in the cache/)]);
    expect(waits).toEqual([]);
  });
});

/** An address where nobody listens. */
async function closedPort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

async function scanNames(): Promise<string[]> {
  const snapshots = join(repository(), "snapshots");
  return existsSync(snapshots) ? readdirSync(snapshots) : [];
}

describe("wrong bytes never get a name", () => {
  test("a wrong hash", async () => {
    const wrong = Buffer.from(MODEL);
    wrong[5]! ^= 1;
    hub.fail("model.gguf", sendInstead(wrong));
    await expect(get()).rejects.toThrow(/arrived damaged/);
    expect(await scanNames()).toEqual([]);
    expect(hub.stored).toHaveLength(1);
    await get();
    expect(hub.stored.at(-1)?.range).toBeUndefined();
  });

  test("a wrong hash of a small file", async () => {
    hub.add("org/tiny", { "model.gguf": "right" });
    hub.fail("model.gguf", sendInstead(Buffer.from("wrong")));
    await expect(get()).rejects.toThrow(/arrived damaged/);
  });

  test("a partial file that is damaged is downloaded anew, once", async () => {
    await leavePart(Buffer.alloc(100_000));
    expect(readFileSync((await get()).path).equals(MODEL)).toBe(true);
    expect(hub.stored.map(({ range }) => range)).toEqual(["bytes=100000-", undefined]);
  });

  test("a partial file that is too long is begun anew", async () => {
    await leavePart(Buffer.alloc(400_000));
    expect(readFileSync((await get()).path).equals(MODEL)).toBe(true);
  });

  test.each([
    ["fewer bytes", MODEL.subarray(1)],
    ["more bytes", Buffer.concat([MODEL, MODEL])],
    ["a page to log in", Buffer.from("<html>")],
  ])("%s than announced", async (_, bytes) => {
    hub.fail("model.gguf", sendInstead(bytes));
    await expect(get()).rejects.toThrow(/the server sends \d+ bytes; the repository lists 300000/);
    expect(await scanNames()).toEqual([]);
  });

  test("more bytes than announced, without a length", async () => {
    hub.fail("model.gguf", (_, response) => {
      response.write(MODEL);
      response.end(MODEL);
      return true;
    });
    await expect(get()).rejects.toThrow(/the server sends more bytes/);
  });

  test("another range than asked for, another total", async () => {
    hub.fail("model.gguf", dropAfter(1000), (_, response) => {
      response.writeHead(206, { "Content-Range": `bytes 0-9/${MODEL.length}` }).end(MODEL.subarray(0, 10));
      return true;
    });
    await expect(get()).rejects.toThrow(/another part of the file/);
    hub.fail("model.gguf", (_, response) => {
      response.writeHead(206, { "Content-Range": "bytes 1000-1999/2000" }).end();
      return true;
    });
    await expect(get()).rejects.toThrow(/the server sends 2000 bytes/);
  });

  test("a listing that lies", async () => {
    hub.lies.set("model.gguf", { sha256: "0".repeat(64) });
    await expect(get()).rejects.toThrow(/arrived damaged/);
    hub.lies.set("model.gguf", { sha256: "../../../x" });
    await expect(get()).rejects.toThrow(/no hub/);
    hub.lies.set("model.gguf", { size: -1 });
    await expect(get()).rejects.toThrow(/no hub/);
    hub.lies.set("model.gguf", { size: 2 ** 52 });
    await expect(get()).rejects.toThrow(FileAccessError);
  });

  test.each([
    ["../../x.gguf"],
    ["/etc/x.gguf"],
    ["a/../../../x.gguf"],
    ["C:\\x.gguf"],
    ["a\\..\\x.gguf"],
    [`${"x".repeat(300)}.gguf`],
    ["a\u001b[2J.gguf"],
    ["a//b.gguf"],
  ])("a file called %j", async (name) => {
    hub.add("org/tiny", { [name]: "x" });
    const failure = get("hf:org/tiny");
    await expect(failure).rejects.toThrow(RepositoryError);
    await expect(failure).rejects.toMatchObject({
      reason: "unsafe",
      message: expect.not.stringContaining("\u001b"),
    });
    expect(existsSync(home)).toBe(false);
    expect(hub.seen.every(({ url }) => url.startsWith("/api/"))).toBe(true);
  });

  test("answers that are no hub's", async () => {
    const api = "/api/models/org/tiny/revision/main";
    const bodies = ["<html>", "{}", '{"sha":"../../x"}', '{"sha":7}', "null"];
    for (const body of bodies) {
      hub.fail(api, (_, response) => !!response.end(body));
      await expect(get()).rejects.toThrow(/what answers is no hub/);
    }
    hub.fail(api, (_, response) => {
      const pour = () => {
        while (!response.destroyed && response.write(Buffer.alloc(1 << 20)));
        if (!response.destroyed) response.once("drain", pour);
      };
      pour();
      return true;
    });
    await expect(get()).rejects.toThrow(/the answer has no end/);
  });
});

/** What a process that was killed has left of the model. */
async function leavePart(bytes: Uint8Array, modified = new Date(Date.now() - 60_000)): Promise<string> {
  const path = join(repository(), "blobs", `${sha256(MODEL)}.qigen-00.incomplete`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  utimesSync(path, modified, modified);
  return path;
}

describe("two at once", () => {
  test("one waits for the other", async () => {
    const stages = new Set<string>();
    const onProgress = ({ stage }: PullProgress) => stages.add(stage);
    hub.fail("model.gguf", dropAfter(100_000), dropAfter(100_000));
    const [one, two] = await Promise.all([get(REF, { onProgress }), get(REF, { onProgress })]);
    expect(one).toEqual(two);
    expect(readFileSync(one.path).equals(MODEL)).toBe(true);
    expect(hub.stored.map(({ range }) => range)).toEqual([undefined, "bytes=100000-", "bytes=200000-"]);
    expect(stages).toContain("waiting");
    expect(blobs()).toEqual([sha256(MODEL)]);
  });

  test("the one that waits goes on where the other gives up", async () => {
    hub.fail("model.gguf", dropAfter(100_000), ...Array.from({ length: 6 }, () => busy(502)));
    const results = await Promise.allSettled([get(), get()]);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(hub.stored.at(-1)?.range).toBe("bytes=100000-");
  });

  test("what is thought abandoned, but is not, does no harm", async () => {
    let taken: Promise<PulledModel> | undefined;
    hub.fail(
      "model.gguf",
      stallAfter(100_000, () => {
        const [name = ""] = blobs();
        utimesSync(join(repository(), "blobs", name), new Date(0), new Date(0));
        taken = get();
      }),
    );
    const first = await get(REF, {}, { env: { ...env(), HF_HUB_DOWNLOAD_TIMEOUT: "0.5" } });
    expect(await taken).toEqual(first);
    expect(readFileSync(first.path).equals(MODEL)).toBe(true);
    expect(blobs()).toEqual([sha256(MODEL)]);
  });

  test("what a killed process left is used once it must be dead", async () => {
    const path = await leavePart(MODEL.subarray(0, 100_000), new Date());
    let polls = 0;
    await get(
      REF,
      {},
      {
        pause: async () => {
          if (++polls === 3) utimesSync(path, new Date(0), new Date(Date.now() - 60_000));
        },
      },
    );
    expect(polls).toBe(3);
    expect(hub.stored.map(({ range }) => range)).toEqual(["bytes=100000-"]);
  });
});

describe("the disk", () => {
  test("too little space is found out before anything is downloaded", async () => {
    const failure = get(REF, {}, { freeBytes: async () => 299_999 });
    await expect(failure).rejects.toThrow(FileAccessError);
    await expect(failure).rejects.toThrow(
      /293 KiB are to be downloaded, but only 293 KiB are free there; make room/,
    );
    expect(hub.stored).toEqual([]);
    await leavePart(MODEL.subarray(0, 1));
    await get(REF, {}, { freeBytes: async () => 299_999 });
  });

  test("a cache that cannot be made", async () => {
    writeFileSync(join(folder, "file"), "");
    const around = { env: { ...env(), HF_HUB_CACHE: join(folder, "file/hub") } };
    await expect(get(REF, {}, around)).rejects.toThrow(/a part of the path is not a folder/);
  });
});

describe("offline", () => {
  test("uses the cache, without a request", async () => {
    const { path } = await get();
    hub.seen.length = 0;
    expect(await get("hf:org/tiny", {}, offline())).toMatchObject({ path });
    expect(hub.seen).toEqual([]);
  });

  test("says what is missing", async () => {
    await expect(get(REF, {}, offline())).rejects.toThrow(
      "org/tiny: HF_HUB_OFFLINE is set, and it is not in the cache; without it, qigen pull hf:org/tiny/model.gguf downloads it",
    );
    await get();
    await expect(get("hf:org/tiny:Q8_0", {}, offline())).rejects.toThrow(
      /HF_HUB_OFFLINE is set, and the cache has no GGUF file of type Q8_0; it has:\n {2}hf:org\/tiny\/model\.gguf;/,
    );
    await expect(get(REF, {}, offline())).resolves.toBeDefined();
  });
});

describe("access", () => {
  const withToken = (token: string) => ({ env: { ...env(), HF_TOKEN: token } });

  test("a gated repository says what to do", async () => {
    hub.add("org/tiny", { "model.gguf": MODEL }, { gatedTo: "hf_right" });
    const failure = get();
    await expect(failure).rejects.toMatchObject({ code: "REPOSITORY", reason: "gated" });
    await expect(failure).rejects.toThrow(
      /log in and accept its terms at http.*\/org\/tiny, then put an access token .* in HF_TOKEN/,
    );
    await expect(get(REF, {}, withToken("hf_wrong"))).rejects.toThrow(/your access token does not open it/);
    await get(REF, {}, withToken("hf_right"));
  });

  test("a private one, with a token from the file, which no other server sees", async () => {
    hub.add("org/tiny", { "model.gguf": MODEL }, { privateTo: "any form of token" });
    await expect(get()).rejects.toMatchObject({
      reason: "denied",
      message: expect.stringMatching(/does not exist or is private/),
    });
    await expect(get(REF, {}, withToken("hf_wrong"))).rejects.toMatchObject({
      message: expect.stringMatching(/access token .* is not valid/),
    });
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "token"), "any form of token\n");
    await get();
    expect(hub.seen.at(-1)?.authorization).toBe("Bearer any form of token");
    expect(hub.stored.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test("a repository, a file that is not there", async () => {
    await expect(get("hf:org/absent")).rejects.toMatchObject({ reason: "denied" });
    await expect(get("hf:org/tiny/absent.gguf")).rejects.toThrow(
      "org/tiny: has no absent.gguf; it has:\n  hf:org/tiny/model.gguf",
    );
    hub.add("org/tiny", { "README.md": "x" });
    await expect(get("hf:org/tiny")).rejects.toThrow(
      /neither GGUF files nor a config\.json with safetensors/,
    );
    await expect(get("hf:org")).rejects.toThrow(UsageError);
  });
});

test("a large file does not go through memory", async () => {
  const bytes = Buffer.alloc(160 << 20, 7);
  hub.add("org/tiny", { "model.gguf": bytes });
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const { path } = await get(REF, {
    onProgress: () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    },
  });
  expect(createHash("sha256").update(readFileSync(path)).digest("hex")).toBe(sha256(bytes));
  // What is collected late counts too.
  expect(most).toBeLessThan(112 << 20);
});
