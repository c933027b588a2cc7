// @ts-check
/** The engines: how each is run, and what its report says. */
import { bestSettings, OURS, TESTS } from "./summary.mjs";

/** @import { Case, Round, Run, TestName } from "./results.mjs" */

/**
 * @typedef {object} Sizes
 * @property {number} promptTokens
 * @property {number} genTokens
 * @property {number} repeat
 */

/**
 * One call of an engine's program.
 *
 * @typedef {object} Invocation
 * @property {string} settings
 * @property {string[]} command
 */

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {(of: Case, model: string | undefined, rounds: readonly Round[]) => Invocation[]} invocations what to run in
 *   a round, given the file, if there is one, and the rounds before
 * @property {(stdout: string) => Pick<Run, "tokensPerSecond" | "work" | "report" | "version">} parse
 */

/**
 * @param {Sizes & { isa?: string | undefined }} options
 * @returns {Engine}
 */
export function qigen({ isa, ...sizes }) {
  return {
    name: OURS,
    invocations: (of, model) => {
      const subject = model === undefined ? ["--synthetic", of.shape, "--format", of.format] : [model];
      const flags = [...sizeFlags(sizes, of), ...(isa === undefined ? [] : ["--isa", isa])];
      return [{ settings: "", command: ["node", "bin/qigen.js", "bench", ...subject, ...flags, "--json"] }];
    },
    parse: (stdout) => {
      const report = JSON.parse(stdout);
      const { prefill, decode } = report;
      const { weights, kvCache } = decode.bytesPerToken;
      const operationsPerToken = (1e9 * prefill.gops) / prefill.tokensPerSecond.median;
      return {
        ...parseTests(report),
        work: { bytesPerToken: weights + kvCache, operationsPerToken },
        report,
      };
    },
  };
}

/**
 * @param {Sizes} sizes
 * @returns {Engine}
 */
export function nodeLlamaCpp(sizes) {
  return {
    name: "node-llama-cpp",
    invocations: (of, model) =>
      model === undefined
        ? []
        : [{ settings: "", command: ["node", "bench/peer.mjs", model, ...sizeFlags(sizes, of)] }],
    parse: (stdout) => {
      const report = JSON.parse(stdout);
      return { ...parseTests(report), version: report.version, report };
    },
  };
}

/**
 * @param {Sizes} sizes
 * @param {Case} of
 * @returns {string[]}
 */
function sizeFlags({ promptTokens, genTokens, repeat }, { threads, depth }) {
  const flags = { threads, depth, "prompt-tokens": promptTokens, "gen-tokens": genTokens, repeat };
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
}

/**
 * @param {Record<TestName, { tokens: number, seconds: number[] }>} report
 * @returns {Pick<Run, "tokensPerSecond">}
 */
function parseTests(report) {
  const rates = TESTS.map((test) => {
    const { tokens, seconds } = report[test];
    return [test, seconds.map((time) => tokens / time)];
  });
  return { tokensPerSecond: Object.fromEntries(rates) };
}

/** Flash attention and memory mapping, off and on. */
const LLAMA_SETTINGS = ["-fa 0 -mmp 0", "-fa 0 -mmp 1", "-fa 1 -mmp 0", "-fa 1 -mmp 1"];

/**
 * llama.cpp's own benchmark. The first round tries all settings; the others take the fastest for each test.
 *
 * @param {Sizes & { program: string }} options
 * @returns {Engine}
 */
export function llamaBench({ program, promptTokens, genTokens, repeat }) {
  const name = "llama-bench";
  return {
    name,
    invocations: (of, model, rounds) => {
      if (model === undefined) return [];
      const fixed = [program, "-m", model, "-d", `${of.depth}`, "-t", `${of.threads}`, "-r", `${repeat}`];
      return llamaRuns(bestSettings(rounds, name)).map(({ settings, tests }) => {
        const tokens = [
          ["-p", `${tests.includes("prefill") ? promptTokens : 0}`],
          ["-n", `${tests.includes("decode") ? genTokens : 0}`],
        ];
        return { settings, command: [...fixed, ...tokens.flat(), ...settings.split(" "), "-o", "json"] };
      });
    },
    parse: parseLlamaBench,
  };
}

/**
 * @param {Partial<Record<TestName, string>>} best
 * @returns {{ settings: string, tests: readonly TestName[] }[]}
 */
function llamaRuns(best) {
  if (best.prefill === undefined || best.decode === undefined) {
    return LLAMA_SETTINGS.map((settings) => ({ settings, tests: TESTS }));
  }
  return [...new Set([best.prefill, best.decode])].map((settings) => ({
    settings,
    tests: TESTS.filter((test) => best[test] === settings),
  }));
}

/**
 * @param {string} stdout
 * @returns {Pick<Run, "tokensPerSecond" | "report" | "version">}
 */
export function parseLlamaBench(stdout) {
  /** @type {{ n_prompt: number, n_gen: number, samples_ts: number[], build_commit: string }[]} */
  const report = JSON.parse(stdout);
  const samples = (/** @type {"n_prompt" | "n_gen"} */ count) =>
    report.filter((test) => test[count] > 0).flatMap((test) => test.samples_ts);
  const [prefill, decode] = [samples("n_prompt"), samples("n_gen")];
  return {
    tokensPerSecond: {
      ...(prefill.length > 0 ? { prefill } : {}),
      ...(decode.length > 0 ? { decode } : {}),
    },
    version: report[0]?.build_commit ?? "",
    report,
  };
}
