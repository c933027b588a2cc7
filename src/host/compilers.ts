import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { basename, delimiter, isAbsolute, join, resolve } from "node:path";
import { MachineError } from "../base/errors.ts";
import { runTool } from "./tool.ts";

/** A C compiler that answers. */
export interface Compiler {
  readonly path: string;
  /** Arguments that belong to the command itself: ["cc"] of `zig cc`, ["gcc"] of `ccache gcc`. */
  readonly args: readonly string[];
  readonly kind: "gcc" | "clang" | "zig";
  /** First line of `--version`. */
  readonly version: string;
  /** Where it was found: "$QIGEN_CC", "$CC" or the command's name. */
  readonly foundAs: string;
}

/** A command that exists, or was asked for, but cannot be used. */
export interface BrokenCompiler {
  readonly foundAs: string;
  readonly command: string;
  readonly reason: string;
}

export interface Compilers {
  /** In order of preference, each compiler once. */
  readonly working: readonly Compiler[];
  readonly broken: readonly BrokenCompiler[];
}

export interface FindOptions {
  /** How long a compiler may take to say its version; 5,000 ms. */
  readonly timeoutMs?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * C compilers in order of preference: $QIGEN_CC, $CC, cc, gcc, clang, `zig cc`. Each only has to say its version
 * and target; nothing is compiled or loaded.
 */
export async function findCompilers(
  env: Environment = process.env,
  options: FindOptions = {},
): Promise<Compilers> {
  const answers = await Promise.all(candidates(env).map((candidate) => ask(candidate, env, options)));
  const broken: BrokenCompiler[] = [];
  const working = new Map<string, Compiler>();
  for (const answer of answers) {
    if (answer && "reason" in answer) broken.push(answer);
    else if (answer && !working.has(identity(answer))) working.set(identity(answer), answer);
  }
  return { working: [...working.values()], broken };
}

/**
 * The compiler to use: the first that works.
 *
 * @throws MachineError when there is none, or when $QIGEN_CC names one that does not work
 */
export async function chooseCompiler(
  env: Environment = process.env,
  options: FindOptions = {},
): Promise<Compiler> {
  const { working, broken } = await findCompilers(env, options);
  const asked = broken.find((compiler) => compiler.foundAs === "$QIGEN_CC");
  if (asked) throw new MachineError(`$QIGEN_CC: ${asked.command}: ${asked.reason}`);
  if (working[0]) return working[0];
  const found = broken
    .map(({ foundAs, command, reason }) => `\n  ${foundAs} (${command}): ${reason}`)
    .join("");
  throw new MachineError(
    `no C compiler works here${found || " (looked for cc, gcc, clang and zig)"}\n` +
      "Install gcc or clang, or name one in QIGEN_CC; the wasm backend needs none.",
  );
}

interface Candidate {
  readonly foundAs: string;
  /** Path or name, then arguments. */
  readonly command: readonly [string, ...string[]];
  /** Asked for by name, so that its absence is worth a word. */
  readonly asked: boolean;
}

function candidates(env: Environment): Candidate[] {
  const asked = ["QIGEN_CC", "CC"].flatMap((variable) => {
    const command = splitCommand(env[variable]?.trim() ?? "");
    return command ? [{ foundAs: `$${variable}`, command, asked: true }] : [];
  });
  const usual: Candidate[] = [["cc"], ["gcc"], ["clang"], ["zig", "cc"]].map((command) => ({
    foundAs: command.join(" "),
    command: command as [string, ...string[]],
    asked: false,
  }));
  return [...asked, ...usual];
}

/** "ccache gcc -m64" is a command with arguments; the path of a file may have blanks in it. */
function splitCommand(text: string): [string, ...string[]] | undefined {
  if (text === "") return undefined;
  if (isProgram(resolve(text))) return [text];
  return text.split(/\s+/) as [string, ...string[]];
}

async function ask(
  candidate: Candidate,
  env: Environment,
  options: FindOptions,
): Promise<Compiler | BrokenCompiler | undefined> {
  const { foundAs, command, asked } = candidate;
  const [name, ...given] = command;
  const broken = (reason: string) => ({ foundAs, command: command.join(" "), reason });
  const path = findProgram(name, env);
  if (path === undefined) return asked ? broken("not found") : undefined;
  const args = isZig(path) && given.length === 0 ? ["cc"] : given;
  const run = (flag: string) => runTool(path, [...args, flag], { env, timeoutMs: options.timeoutMs ?? 5000 });
  const [version, target] = await Promise.all([run("--version"), run("-dumpmachine")]);
  if (!version.ok) {
    const said = version.stderr.trim().split("\n")[0];
    return broken(said ? `${version.reason}: ${said}` : version.reason);
  }
  const kind = isZig(path) ? "zig" : kindOf(version.stdout);
  if (kind === undefined) return broken("neither gcc nor clang, by what --version says");
  if (target.ok && !compilesFor(target.stdout.trim(), process.arch)) {
    return broken(`compiles for ${target.stdout.trim()}, not for ${process.arch}`);
  }
  return { path, args, kind, version: firstLine(version.stdout), foundAs };
}

/**
 * gcc says neither "gcc" nor "GNU" when run as `cc`; its copyright notice is the sure sign. Other compilers are
 * not used, since they may change floating-point arithmetic by default (Intel's does).
 */
function kindOf(version: string): "gcc" | "clang" | undefined {
  if (/\bclang\b/i.test(version)) return "clang";
  return /Free Software Foundation/.test(version) ? "gcc" : undefined;
}

/** Whether code for a target triple ("x86_64-linux-gnu") can be loaded here; true where that is not known. */
export function compilesFor(triple: string, arch: string): boolean {
  if (!/^[\w.]+-\S+$/.test(triple)) return true;
  const names: Readonly<Record<string, RegExp>> = { x64: /^(x86_64|amd64)/i, arm64: /^(aarch64|arm64)/i };
  return names[arch]?.test(triple) ?? true;
}

function isZig(path: string): boolean {
  return /^zig(\.exe)?$/i.test(basename(path));
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0]?.trim() ?? "";
}

/** Equal for `cc` and the `gcc` it links to, not for two compilers behind one ccache. */
function identity({ path, args, version }: Compiler): string {
  return JSON.stringify([realpathSync(path), args, version.replace(/^\S+/, "")]);
}

/** Absolute path of a program: as given where it has a folder, else from $PATH. */
function findProgram(name: string, env: Environment): string | undefined {
  if (/[/\\]/.test(name)) return isProgram(resolve(name)) ? resolve(name) : undefined;
  const extensions = process.platform === "win32" ? [".exe", ".cmd", ""] : [""];
  return (env.PATH ?? env.Path ?? "")
    .split(delimiter)
    .filter(isAbsolute)
    .flatMap((folder) => extensions.map((extension) => join(folder, name + extension)))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
