import { type ChildProcess, spawn } from "node:child_process";
import { AbortedError } from "../base/errors.ts";

export type ToolResult =
  | { readonly ok: true; readonly stdout: string; readonly stderr: string }
  | { readonly ok: false; readonly reason: string; readonly stderr: string };

export interface ToolOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
}

const MAX_OUTPUT = 1 << 16;
/** How long output may still arrive after the tool itself has ended (a helper it left behind may hold the pipe). */
const DRAIN_MS = 300;

/**
 * Runs a program without a shell and collects the first 64 KiB of each output. Never rejects for what the program
 * does: not starting, failing and taking too long are results with a reason.
 *
 * @throws AbortedError when the signal fires; the program and its children are killed first
 */
export function runTool(path: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
  const { signal, timeoutMs } = options;
  if (signal?.aborted) return Promise.reject(new AbortedError());
  return new Promise((resolve, reject) => {
    const child = start(path, args, options);
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    let killedFor: "abort" | "timeout" | undefined;
    const kill = (why: "abort" | "timeout") => {
      killedFor = why;
      killTree(child);
    };
    const onAbort = () => kill("abort");
    const timer = setTimeout(() => kill("timeout"), timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    const settle = (failure: string | undefined) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      running.delete(child);
      child.stdout?.destroy();
      child.stderr?.destroy();
      if (killedFor === "abort") return reject(new AbortedError());
      const reason = killedFor ? `no answer in ${timeoutMs / 1000} s` : failure;
      if (reason === undefined) resolve({ ok: true, stdout: stdout(), stderr: stderr() });
      else resolve({ ok: false, reason, stderr: stderr() });
    };
    child.once("error", (error) => settle(`cannot be started: ${error.message}`));
    child.once("exit", (code, by) => {
      const failure = code === 0 ? undefined : code === null ? `killed by ${by}` : `exit status ${code}`;
      const drained = setTimeout(() => settle(failure), killedFor ? 0 : DRAIN_MS);
      child.once("close", () => {
        clearTimeout(drained);
        settle(failure);
      });
    });
  });
}

/** In a process group of its own, so that killing it reaches the programs it has started in turn. */
function start(path: string, args: readonly string[], options: ToolOptions): ChildProcess {
  const child = spawn(path, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...(options.env ?? process.env), LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: process.platform !== "win32",
    windowsHide: true,
  });
  if (!exitHooked) process.once("exit", () => running.forEach(killTree));
  exitHooked = true;
  running.add(child);
  return child;
}

const running = new Set<ChildProcess>();
let exitHooked = false;

function killTree(child: ChildProcess): void {
  try {
    if (child.pid !== undefined && process.platform !== "win32") process.kill(-child.pid, "SIGKILL");
    else child.kill("SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream?.on("data", (chunk: Buffer) => {
    if (length < MAX_OUTPUT) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).subarray(0, MAX_OUTPUT).toString("utf8");
}
