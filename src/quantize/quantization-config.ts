import type { QuantizedFormat } from "../quant/formats.ts";
import type { Settings } from "./options.ts";

type Entry = readonly [string, QuantizedFormat];

/**
 * The keys that other engines read, and those that say how it was made. Matrices that differ from most are in `dynamic`, as
 * GPTQModel has it: a pattern for the module's name, with `+:` and its own settings, or with `-:` if it is not quantized.
 *
 * @param formats of the matrices that are quantized, by name
 * @param excluded names of matrices that are not
 */
export function quantizationConfig(
  settings: Settings,
  formats: readonly Entry[],
  excluded: readonly string[],
): Readonly<Record<string, unknown>> {
  const { symmetric, order, damp, trueSequential, method } = settings;
  const most = commonest(formats);
  const differing = formats.filter(([, { name }]) => name !== most?.name);
  const dynamic = Object.fromEntries([
    ...differing.map(([name, format]) => [`+:${patternOf(name)}`, widthsOf(format)] as const),
    ...excluded.map((name) => [`-:${patternOf(name)}`, {}] as const),
  ]);
  return {
    quant_method: "gptq",
    checkpoint_format: "gptq",
    ...(most === undefined ? { bits: settings.bits, group_size: settings.groupSize } : widthsOf(most)),
    sym: symmetric,
    desc_act: order === "activations",
    static_groups: false,
    true_sequential: trueSequential,
    damp_percent: damp,
    lm_head: false,
    ...(Object.keys(dynamic).length === 0 ? {} : { dynamic }),
    meta: { quantizer: ["qigen"], method, act_group_aware: order === "groups" },
  };
}

function widthsOf({ bits, group }: QuantizedFormat): { bits: number; group_size: number } {
  return { bits, group_size: group === "row" ? -1 : group };
}

function patternOf(name: string): string {
  return `^${name.replace(/\.weight$/, "").replaceAll(".", "\\.")}$`;
}

/** The format that most matrices have. */
function commonest(formats: readonly Entry[]): QuantizedFormat | undefined {
  const counts = new Map<string, number>();
  for (const [, { name }] of formats) counts.set(name, (counts.get(name) ?? 0) + 1);
  const most = Math.max(0, ...counts.values());
  return formats.find(([, { name }]) => counts.get(name) === most)?.[1];
}
