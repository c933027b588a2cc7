// @ts-check
/** Programs of the project that benches run as processes of their own. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runChild } from "./compare/child.mjs";
import { qigen } from "./compare/engines.mjs";

/**
 * @import { Case, Probe, Run } from "./compare/results.mjs"
 * @import { Sizes } from "./compare/engines.mjs"
 */

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/**
 * What the machine can do now.
 *
 * @param {{ threads: number, passes: number, prefix?: readonly string[], signal: AbortSignal }} options
 * @returns {Promise<Probe>}
 */
export async function probeMachine({ threads, passes, prefix = [], signal }) {
  const command = ["node", "bench/compare/probe.mjs", "--threads", `${threads}`, "--passes", `${passes}`];
  const { stdout } = await runChild([...prefix, ...command], { cwd: ROOT, signal });
  return JSON.parse(stdout);
}

/**
 * `qigen bench` of random weights, in this project's folder or a copy of it.
 *
 * @param {Case & Sizes} of
 * @param {{ signal: AbortSignal, prefix?: readonly string[], cwd?: string, flags?: readonly string[], env?: Record<string, string> }} options
 *   `prefix`: put before the command
 * @returns {Promise<Pick<Run, "tokensPerSecond" | "work" | "report">>}
 */
export async function benchSynthetic(of, { signal, prefix = [], cwd = ROOT, flags = [], env = {} }) {
  const engine = qigen(of);
  const [invocation] = engine.invocations(of, undefined, []);
  const { stdout } = await runChild([...prefix, ...(invocation?.command ?? []), ...flags], {
    cwd,
    signal,
    env,
  });
  return engine.parse(stdout);
}

/**
 * The versions of this project and of Node.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<Record<string, string>>}
 */
export async function ownVersions(signal) {
  const git = await runChild(["git", "rev-parse", "--short", "HEAD"], { cwd: ROOT, signal }).catch(
    () => undefined,
  );
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const commit = git === undefined ? "" : ` (${git.stdout.trim()})`;
  return { qigen: `${version}${commit}`, node: process.version };
}
