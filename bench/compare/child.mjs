// @ts-check
/** Programs that are run for their output. */
import { spawn } from "node:child_process";

/** How long a program that was asked to end may take for it (ms). */
const GRACE_MS = 3000;

/**
 * Runs a program to its end, in a process group of its own: when the signal fires, the group is asked to end, then made
 * to. Rejects with the last lines of its stderr when it fails.
 *
 * @param {readonly string[]} command "node" stands for this Node
 * @param {{ cwd: string, signal: AbortSignal, env?: Record<string, string> }} options `env`: besides our own
 * @returns {Promise<{ stdout: string, seconds: number }>}
 */
export async function runChild(command, { cwd, signal, env = {} }) {
  signal.throwIfAborted();
  const [program = "", ...args] = command.map((word) => (word === "node" ? process.execPath : word));
  const started = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = (/** @type {NodeJS.Signals} */ name) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // It has ended.
    }
  };
  /** @type {NodeJS.Timeout | undefined} */
  let impatience;
  const stop = () => {
    kill("SIGTERM");
    impatience = setTimeout(() => kill("SIGKILL"), GRACE_MS);
  };
  signal.addEventListener("abort", stop);
  try {
    const [stdout, stderr, ending] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      endingOf(child),
    ]);
    signal.throwIfAborted();
    if (ending !== undefined) throw new Error(`${ending}: ${lastLines(stderr)}`);
    return { stdout, seconds: (performance.now() - started) / 1000 };
  } finally {
    clearTimeout(impatience);
    signal.removeEventListener("abort", stop);
  }
}

/**
 * @param {import("node:stream").Readable} stream
 * @returns {Promise<string>}
 */
async function textOf(stream) {
  let text = "";
  for await (const chunk of stream.setEncoding("utf8")) text += chunk;
  return text;
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<string | undefined>} how it failed, if it did
 */
function endingOf(child) {
  return new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) =>
      resolve(code === 0 ? undefined : signal === null ? `exit code ${code}` : `ended by ${signal}`),
    );
  });
}

/**
 * @param {string} text
 * @returns {string}
 */
function lastLines(text) {
  return text.trim().split("\n").slice(-3).join("; ").slice(-400);
}
