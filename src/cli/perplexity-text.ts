import type { PerplexityComparison } from "../evaluation/comparison.ts";
import type { PerplexityResult } from "../evaluation/perplexity.ts";
import type { Estimate } from "../evaluation/statistics.ts";
import type { Protocol } from "../evaluation/windows.ts";
import { digits, secondsText } from "../plan/text.ts";
import { columns, formatCount } from "./format.ts";

/** A model and the precision of what it computes with. */
interface Ran {
  readonly model: string;
  readonly activations: string;
  readonly kv: string;
}

export interface PerplexitySettings extends Ran {
  readonly quantize?: string;
  readonly base?: Ran;
  readonly text: string;
  readonly backend: string;
  readonly isa: string;
  readonly threads: number;
}

/** "25.58 ± 0.34": as many places as the error has to two digits, at least two. */
export function estimateText({ value, error }: Estimate): string {
  if (!(error > 0 && Number.isFinite(error))) return value.toFixed(4);
  const places = Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(error))));
  return `${value.toFixed(places)} ± ${error.toFixed(places)}`;
}

/** What `qigen perplexity` prints for people. */
export function perplexityText(settings: PerplexitySettings, result: PerplexityResult): string {
  const { protocol, windows, tokens, scored, perplexity, seconds, tokensPerSecond, comparison } = result;
  const { quantize, base } = settings;
  const rows = [
    ["model", ranText(settings, quantize)],
    ...(base === undefined ? [] : [["base", ranText(base)]]),
    ["text", settings.text],
    ["protocol", protocolText(protocol)],
    ["tokens", `${formatCount(tokens)} in ${formatCount(windows)} windows, ${formatCount(scored)} scored`],
    ["speed", `${digits(tokensPerSecond)} tokens/s, ${secondsText(seconds)}`],
    ["perplexity", estimateText(perplexity)],
  ];
  return columns(rows) + (comparison === undefined ? "" : comparisonText(comparison));
}

function ranText({ model, activations, kv }: Ran, quantize?: string): string {
  const as = quantize === undefined ? "" : ` as ${quantize}`;
  return `${model}${as}, ${activations} activations, ${kv} KV cache`;
}

function protocolText(protocol: Protocol): string {
  const { name, context, stride, bos } = protocol;
  const start = {
    text: "start token before the text",
    window: `start token ${name === "gptq" ? "before every window" : "in place of the first of each"}`,
    none: "no start token",
  }[bos];
  const step = stride < textOf(protocol) ? ` every ${stride} tokens` : "";
  return `${name}: windows of ${context} tokens${step}, ${scoredText(protocol)}, ${start}`;
}

/** Tokens of text in a window. */
function textOf({ name, context, bos }: Protocol): number {
  return name === "gptq" && bos === "window" ? context - 1 : context;
}

function scoredText(protocol: Protocol): string {
  const { name, context, stride } = protocol;
  const text = textOf(protocol);
  if (stride < text)
    return name === "gptq" ? "what is new in each scored" : `the last ${stride} of each scored`;
  if (name === "llama.cpp") return "second half of each scored";
  return text < context ? "all their text scored" : "all but the first of each scored";
}

function comparisonText(comparison: PerplexityComparison): string {
  const { perplexity, ratio, divergence, sameTop, probability } = comparison;
  const percent = (value: number) => `${(100 * value).toFixed(3)} %`;
  const percentEstimate = ({ value, error }: Estimate) =>
    `${estimateText({ value: 100 * value, error: 100 * error })} %`;
  const rows = [
    ["base's", estimateText(perplexity)],
    ["ratio", estimateText(ratio)],
    ["same top token", percentEstimate(sameTop)],
  ];
  const names = ["", "mean", "min", "1 %", "5 %", "median", "95 %", "99 %", "max"];
  const spread = [
    "min",
    "percentile1",
    "percentile5",
    "median",
    "percentile95",
    "percentile99",
    "max",
  ] as const;
  const table = [
    names,
    [
      "KL, nats",
      `${digitsOf(divergence.value)} ± ${digitsOf(divergence.error)}`,
      ...spread.map((key) => digitsOf(divergence[key])),
    ],
    ["Δp", percentEstimate(probability), ...spread.map((key) => percent(probability[key]))],
  ];
  const rms = `root mean square of Δp: ${percent(probability.rootMeanSquare)}\n`;
  return `${columns(rows)}\n${columns(table, [1, 2, 3, 4, 5, 6, 7, 8])}${rms}`;
}

/** Three significant digits of what may be tiny. */
function digitsOf(value: number): string {
  return value === 0 || value >= 1e-4 ? digits(value) : value.toExponential(1);
}
