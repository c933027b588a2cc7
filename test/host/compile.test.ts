import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { AbortedError, InternalError, MachineError } from "../../src/base/errors.ts";
import { openCacheDir, prepareCacheDir } from "../../src/host/cache-dir.ts";
import { compileShared, sourcesOf, type Unit } from "../../src/host/compile.ts";
import { type Compiler, chooseCompiler, compilesFor, findCompilers } from "../../src/host/compilers.ts";
import { pruneCache } from "../../src/host/kernel-cache.ts";

const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
const { working } = await findCompilers();
const compiler = working[0];
const posix = process.platform !== "win32";
const isRoot = process.getuid?.() === 0;
const FLAGS = ["-O2", "-fPIC", "-ffp-contract=off"];

let home = "";
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "qigen test ")); // with blanks, like many a home folder
  vi.stubEnv("TMPDIR", home);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true, force: true });
});

let folders = 0;
function freshDir(): string {
  return join(home, `cache dir ${folders++}`);
}

/** A unit with one function `name` that returns `value`. */
function constant(name: string, value: number): Unit {
  return { name, text: `int ${name}(void) { return ${value}; }\n` };
}

function call(library: string, name: string): number {
  return koffi.load(library).func(`int ${name}(void)`)() as number;
}

/** A program that is a shell script. */
function script(name: string, body: string): string {
  const path = join(home, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const GCC_VERSION = 'echo "cc 1.0"; echo "Copyright (C) Free Software Foundation, Inc."';
const onlyWorkFolders = (dir: string) => readdirSync(dir).filter((name) => name.startsWith("."));

describe.skipIf(compiler === undefined)("compileShared (needs a C compiler)", () => {
  const cc = compiler as Compiler;

  test("builds once, then finds it; other text or flags are another entry", async () => {
    const dir = freshDir();
    const units = [constant("one", 1), constant("two", 2), constant("three", 3)];
    const first = await compileShared(cc, sourcesOf(units), FLAGS, dir, { threads: 2 });
    expect([first.cached, call(first.path, "one"), call(first.path, "three")]).toEqual([false, 1, 3]);
    const again = await compileShared(cc, sourcesOf(units), FLAGS, dir);
    expect([again.cached, again.path]).toEqual([true, first.path]);
    expect((await compileShared(cc, sourcesOf(units), [...FLAGS, "-g"], dir)).path).not.toBe(first.path);
    const other = await compileShared({ ...cc, version: "another" }, sourcesOf(units), FLAGS, dir);
    expect(other.path).not.toBe(first.path);
    expect(onlyWorkFolders(dir)).toEqual([]);
    if (posix) expect(statSync(dir).mode & 0o777).toBe(0o700);
  });

  test("libraries are linked after the objects", async () => {
    const text = "double sqrt(double); int root(void) { volatile double x = 49; return (int)sqrt(x); }\n";
    const flags = ["-lm", "-shared", ...FLAGS];
    const { path } = await compileShared(cc, sourcesOf([{ name: "root", text }]), flags, freshDir());
    expect(call(path, "root")).toBe(7);
  });

  test.each([
    ["emptied", (path: string) => truncateSync(path, 0)],
    ["cut short", (path: string) => truncateSync(path, 1000)],
    ["changed in place", (path: string) => writeFileSync(path, readFileSync(path).fill(7, 100, 101))],
    ["without its library", (path: string) => rmSync(path)],
    ["without its sidecar", (path: string) => rmSync(join(dirname(path), "library.json"))],
  ])("an entry %s is rebuilt", async (_, damage) => {
    const dir = freshDir();
    const units = [constant("five", 5)];
    const { path } = await compileShared(cc, sourcesOf(units), FLAGS, dir);
    damage(path);
    const rebuilt = await compileShared(cc, sourcesOf(units), FLAGS, dir);
    expect([rebuilt.cached, rebuilt.path, call(rebuilt.path, "five")]).toEqual([false, path, 5]);
    expect((await compileShared(cc, sourcesOf(units), FLAGS, dir)).cached).toBe(true);
    expect(onlyWorkFolders(dir)).toEqual([]);
  });

  test("a unit that does not compile: the compiler's words, at most 20 lines", async () => {
    const dir = freshDir();
    const bad = { name: "bad", text: `${"this is not C;\n".repeat(200)}` };
    const failure = await compileShared(cc, sourcesOf([constant("good", 1), bad]), FLAGS, dir).catch(
      (e: unknown) => e,
    );
    expect(failure).toBeInstanceOf(MachineError);
    const message = (failure as Error).message;
    expect(message).toMatch(/could not compile bad\.c: exit status 1/);
    expect(message).toMatch(/bad\.c:1/);
    expect(message.split("\n").length).toBeLessThan(25);
    expect(readdirSync(dir)).toEqual([]);
  });

  test("two units with one symbol: the linker's words", async () => {
    const twice = [constant("same", 1), { ...constant("same", 2), name: "again" }];
    await expect(compileShared(cc, sourcesOf(twice), FLAGS, freshDir())).rejects.toThrow(
      /could not link.*same/s,
    );
  });

  test("flags that change results, and names that are not file names, are bugs", async () => {
    const units = [constant("x", 1)];
    for (const flag of ["-ffast-math", "-Ofast", "-ffp-contract=fast", "-march=native"]) {
      await expect(compileShared(cc, sourcesOf(units), [flag], freshDir())).rejects.toThrow(InternalError);
    }
    const outside = { name: "../x", text: "" };
    await expect(compileShared(cc, sourcesOf([outside]), FLAGS, freshDir())).rejects.toThrow(InternalError);
  });

  test("stopped before and during the build", async () => {
    const dir = freshDir();
    const before = { signal: AbortSignal.abort() };
    await expect(compileShared(cc, sourcesOf([constant("x", 1)]), FLAGS, dir, before)).rejects.toThrow(
      AbortedError,
    );
    const slow = { ...cc, path: script("slow", "sleep 60") };
    const during = { signal: AbortSignal.timeout(200) };
    await expect(compileShared(slow, sourcesOf([constant("x", 1)]), FLAGS, dir, during)).rejects.toThrow(
      AbortedError,
    );
    expect(readdirSync(dir)).toEqual([]);
  });

  test("several builds of the same thing at once in one process", async () => {
    const dir = freshDir();
    const build = () => compileShared(cc, sourcesOf([constant("nine", 9)]), FLAGS, dir);
    const paths = (await Promise.all([build(), build(), build()])).map(({ path }) => path);
    expect(new Set(paths).size).toBe(1);
    expect(call(paths[0]!, "nine")).toBe(9);
    expect(onlyWorkFolders(dir)).toEqual([]);
  });

  test("several processes at once, one of them killed", async () => {
    const dir = freshDir();
    const program = transpiledBuilder();
    const units = Array.from({ length: 4 }, (_, i) => constant(`f${i}`, i));
    const request = JSON.stringify({ cc, units, flags: FLAGS, dir });
    const victim = spawn(process.execPath, [program, request], { stdio: "ignore" });
    const builds = [0, 1].map(() => output(process.execPath, [program, request]));
    setTimeout(() => victim.kill("SIGKILL"), 150);
    const results = (await Promise.all(builds)).map((text) => JSON.parse(text) as { path: string });
    expect(results[0]?.path).toBe(results[1]?.path);
    expect(call(results[0]?.path ?? "", "f3")).toBe(3);
    const later = await compileShared(cc, sourcesOf(units), FLAGS, dir);
    expect([later.cached, later.path]).toEqual([true, results[0]?.path]);
  });

  test("pruning removes the least recently used, never what is in use, and old work folders", async () => {
    const dir = freshDir();
    const paths: string[] = [];
    for (const value of [1, 2, 3]) {
      const { path } = await compileShared(cc, sourcesOf([constant("x", value)]), FLAGS, dir);
      paths.push(path);
    }
    const bytes = (await pruneCache(dir, 2 ** 30)) / 3;
    const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
    const age = (path: string, hours: number) => utimesSync(path, hoursAgo(hours), hoursAgo(hours));
    const abandoned = join(dir, ".qigen-build-old");
    const current = join(dir, ".qigen-build-new");
    for (const folder of [abandoned, current, join(dir, "mine")]) mkdirSync(folder);
    for (const folder of [abandoned, join(dir, "mine")]) age(folder, 3);
    age(dirname(paths[0]!), 2);
    age(dirname(paths[1]!), 3);
    expect(await pruneCache(dir, bytes * 2.5)).toBeCloseTo(bytes * 2, -3);
    expect(paths.map(existsSync)).toEqual([true, false, true]);
    expect([abandoned, current, join(dir, "mine")].map(existsSync)).toEqual([false, true, true]);
    await compileShared(cc, sourcesOf([constant("x", 1)]), FLAGS, dir);
    await pruneCache(dir, 0);
    expect(paths.map(existsSync)).toEqual([true, false, true]);
  });

  test.skipIf(!posix)("a cache folder that others can write to is refused", async () => {
    const dir = freshDir();
    mkdirSync(dir);
    chmodSync(dir, 0o777);
    await expect(compileShared(cc, sourcesOf([constant("x", 1)]), FLAGS, dir)).rejects.toThrow(
      /others may write/,
    );
  });
});

describe.skipIf(!posix)("finding compilers (POSIX scripts stand in for them)", () => {
  const only = (variables: Record<string, string>) => ({ PATH: "", ...variables });

  test("order, arguments, and each compiler once", async () => {
    const bin = join(home, "bin dir");
    mkdirSync(bin);
    const gcc = script("bin dir/gcc", GCC_VERSION);
    symlinkSync(gcc, join(bin, "cc"));
    script("bin dir/clang", 'echo "Debian clang version 14.0.6"');
    script("bin dir/zig", '[ "$1" = cc ] && echo "clang version 18.1.6"');
    script("bin dir/ccache", `shift; ${GCC_VERSION}`);
    const env = { PATH: `${bin}:/bin:/usr/bin`, CC: "ccache gcc" };
    const found = (await findCompilers(env)).working.filter(({ path }) => path.startsWith(bin));
    expect(found.map(({ foundAs, kind, args, version }) => [foundAs, kind, args, version])).toEqual([
      ["$CC", "gcc", ["gcc"], "cc 1.0"],
      ["cc", "gcc", [], "cc 1.0"],
      ["clang", "clang", [], "Debian clang version 14.0.6"],
      ["zig cc", "zig", ["cc"], "clang version 18.1.6"],
    ]);
    const chosen = await chooseCompiler({ ...env, QIGEN_CC: join(bin, "clang") });
    expect(chosen).toMatchObject({ foundAs: "$QIGEN_CC", kind: "clang", path: join(bin, "clang") });
  });

  test.each([
    ["fails", "echo broken install >&2; exit 1", "exit status 1: broken install"],
    ["hangs", "sleep 60", "no answer in 0.5 s"],
    ["is another compiler", "echo Other C 1.0", "neither gcc nor clang"],
    [
      "compiles for another machine",
      `[ "$1" = -dumpmachine ] && echo mips-elf && exit; ${GCC_VERSION}`,
      process.arch === "x64" || process.arch === "arm64" ? "compiles for mips-elf" : "",
    ],
  ])("one that %s has a reason", async (what, body, reason) => {
    if (reason === "") return;
    const path = script(`broken ${what}`, body);
    const env = { PATH: "/bin:/usr/bin", QIGEN_CC: path };
    const { broken } = await findCompilers(env, { timeoutMs: 500 });
    expect(broken.find(({ foundAs }) => foundAs === "$QIGEN_CC")?.reason).toContain(reason);
    await expect(chooseCompiler(env, { timeoutMs: 500 })).rejects.toThrow(MachineError);
  });

  test("a hanging compiler is killed with everything it started", async () => {
    const mark = join(home, "survived");
    const path = script("forks", `(sleep 1; touch "${mark}") & sleep 60`);
    await findCompilers({ PATH: "/bin:/usr/bin", QIGEN_CC: path }, { timeoutMs: 200 });
    await new Promise((done) => setTimeout(done, 1300));
    expect(existsSync(mark)).toBe(false);
  });

  test("one that leaves a helper behind, which holds its output open, is not waited for", async () => {
    const path = script("helper", `sleep 3 & ${GCC_VERSION}`);
    const start = performance.now();
    expect(await chooseCompiler({ PATH: "/bin:/usr/bin", QIGEN_CC: path })).toMatchObject({
      version: "cc 1.0",
    });
    expect(performance.now() - start).toBeLessThan(2500);
  });

  test("none at all: what to do about it", async () => {
    await expect(chooseCompiler(only({}))).rejects.toThrow(/no C compiler works here.*Install/s);
    await expect(chooseCompiler(only({ QIGEN_CC: "no-such-cc" }))).rejects.toThrow(
      "$QIGEN_CC: no-such-cc: not found",
    );
    await expect(chooseCompiler(only({ CC: "no-such-cc -m64" }))).rejects.toThrow(/\$CC.*not found/);
  });

  test("a unit that never finishes compiling", async () => {
    // Not `sleep`, which the path need not have.
    const path = script("never", `exec "${process.execPath}" -e "setTimeout(() => {}, 60000)"`);
    const never: Compiler = { path, args: [], kind: "gcc", version: "never 1.0", foundAs: "cc" };
    const build = compileShared(never, sourcesOf([constant("x", 1)]), FLAGS, freshDir(), { timeoutMs: 300 });
    await expect(build).rejects.toThrow(/could not compile x\.c: no answer in 0\.3 s/);
  });

  test("targets", () => {
    expect(compilesFor("x86_64-linux-gnu", "x64")).toBe(true);
    expect(compilesFor("arm64-apple-darwin22.1.0", "arm64")).toBe(true);
    expect(compilesFor("aarch64-linux-gnu", "x64")).toBe(false);
    expect(compilesFor("clang: error: no such option", "x64")).toBe(true);
    expect(compilesFor("riscv64-linux-gnu", "riscv64")).toBe(true);
  });
});

describe.skipIf(!posix)("the cache folder (POSIX owners and modes)", () => {
  test("where it is", () => {
    const base = freshDir();
    mkdirSync(base);
    expect(openCacheDir({ QIGEN_CACHE: join(base, "a"), HOME: base }).path).toBe(join(base, "a"));
    expect(openCacheDir({ XDG_CACHE_HOME: join(base, "x"), HOME: base }).path).toBe(join(base, "x/qigen"));
    expect(openCacheDir({ XDG_CACHE_HOME: "relative", HOME: base })).toEqual({
      path: join(base, ".cache/qigen"),
    });
    expect(statSync(join(base, ".cache/qigen")).mode & 0o777).toBe(0o700);
  });

  test("cannot be made: a private one, and a note", () => {
    const file = join(home, "a file");
    writeFileSync(file, "");
    const { path, note } = openCacheDir({ QIGEN_CACHE: join(file, "cache"), HOME: home });
    expect(dirname(path)).toBe(home);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(note).toContain("cannot be used");
    if (existsSync("/proc/self")) expect(openCacheDir({ QIGEN_CACHE: "/proc/qigen" }).path).toBe(path);
  });

  test("writable by others: an error where it was asked for, else a private one", () => {
    const base = freshDir();
    mkdirSync(join(base, "qigen"), { recursive: true });
    chmodSync(join(base, "qigen"), 0o775);
    expect(() => openCacheDir({ QIGEN_CACHE: join(base, "qigen") })).toThrow(/mode 775.*chmod 700/);
    expect(openCacheDir({ XDG_CACHE_HOME: base }).note).toContain("others may write");
  });

  test("inside a folder where anyone may replace it", () => {
    const base = freshDir();
    mkdirSync(base);
    chmodSync(base, 0o777);
    expect(() => prepareCacheDir(join(base, "cache"))).toThrow(/anyone may replace/);
    expect(existsSync(join(base, "cache"))).toBe(false);
    chmodSync(base, 0o1777);
    expect(() => prepareCacheDir(join(base, "cache"))).not.toThrow();
  });

  test.skipIf(!isRoot)("of another user, or a link made by one (needs root)", async () => {
    const { chownSync, lchownSync } = await import("node:fs");
    const base = freshDir();
    mkdirSync(join(base, "theirs"), { recursive: true });
    mkdirSync(join(base, "mine"));
    chownSync(join(base, "theirs"), 12345, 12345);
    expect(() => prepareCacheDir(join(base, "theirs"))).toThrow(/belongs to user 12345/);
    expect(() => prepareCacheDir(join(base, "theirs", "new"))).toThrow(/belongs to user 12345/);
    symlinkSync(join(base, "mine"), join(base, "link"));
    expect(() => prepareCacheDir(join(base, "link"))).not.toThrow();
    lchownSync(join(base, "link"), 12345, 12345);
    expect(() => prepareCacheDir(join(base, "link"))).toThrow(/link made by another user/);
  });
});

function output(program: string, args: readonly string[]): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.once("error", fail);
    child.once("close", (code) => (code === 0 ? done(text) : fail(new Error(`exit status ${code}`))));
  });
}

/** A program for child processes: `compileShared` and what it imports, types removed, and a few lines to call it. */
function transpiledBuilder(): string {
  const root = resolve(import.meta.dirname, "../../src");
  const out = join(home, "builder");
  const queue = ["host/compile.ts"];
  for (const file of queue) {
    const text = readFileSync(join(root, file), "utf8");
    for (const [, path] of text.matchAll(/from "(\.[^"]+)"/g)) {
      const imported = join(dirname(file), path!);
      if (!queue.includes(imported)) queue.push(imported);
    }
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      rewriteRelativeImportExtensions: true,
      verbatimModuleSyntax: true,
    };
    const target = join(out, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, ts.transpileModule(text, { compilerOptions }).outputText);
  }
  writeFileSync(join(out, "package.json"), '{"type":"module"}');
  writeFileSync(
    join(out, "main.js"),
    `import { compileShared, sourcesOf } from "./host/compile.js";
const { cc, units, flags, dir } = JSON.parse(process.argv[2]);
console.log(JSON.stringify(await compileShared(cc, sourcesOf(units), flags, dir)));`,
  );
  return join(out, "main.js");
}
