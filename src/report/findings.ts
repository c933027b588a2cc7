import { nameOf, type Report, type ReportRow, splitRows } from "./report.ts";
import { threeDigits } from "./table.ts";

/** The smallest setting that costs no more than so much perplexity. */
export interface Choice {
  readonly tolerance: number;
  readonly row: ReportRow;
}

/** What one may be ready to lose. */
const TOLERANCES = [0.005, 0.02, 0.05, 0.2];
/** What nobody misses. */
const NEAR = 0.02;

/** The smallest setting for every tolerance that has one; what is within a smaller one is not said again. */
export function choicesOf(report: Report): Choice[] {
  const choices = TOLERANCES.flatMap((tolerance): Choice[] => {
    const row = smallestWithin(report, tolerance);
    return row === undefined ? [] : [{ tolerance, row }];
  });
  return choices.filter(({ row }, i) => row !== choices[i - 1]?.row);
}

function smallestWithin(report: Report, tolerance: number): ReportRow | undefined {
  return splitRows(report)
    .settings.filter(({ ratio }) => ratio.value <= 1 + tolerance)
    .sort((a, b) => a.weightBytes - b.weightBytes || a.ratio.value - b.ratio.value)[0];
}

/** How many times smaller than in F16 a row's projections are. */
export function timesSmaller({ parameters }: Report, { projectionBytes }: ReportRow): number {
  return (2 * parameters.quantized) / projectionBytes;
}

/** What a reader should take along: the sentence that matters most first. */
export function findingsOf(report: Report): string[] {
  if (report.rows.length < 2) return ["No setting has been measured yet."];
  return [
    headline(report),
    ...methodFinding(report),
    ...budgetFindings(report),
    ...predictionFinding(report),
  ];
}

function headline(report: Report): string {
  const { full } = splitRows(report);
  const near = smallestWithin(report, NEAR);
  if (near === undefined) return `No setting stays within ${100 * NEAR} % of the model's perplexity.`;
  const { value } = near.perplexity;
  return (
    `The smallest setting within ${100 * NEAR} % of the model's own perplexity is ${nameOf(near)}: projections ` +
    `${threeDigits(timesSmaller(report, near))} times smaller than in F16, perplexity ${value.toFixed(2)} instead of ` +
    `${full.perplexity.value.toFixed(2)}, decode ${threeDigits(near.decode.measured / full.decode.measured)} times as fast as the model as it is.`
  );
}

/** The number of bits at which GPTQ gains the most over rounding to nearest, in divergence. */
function methodFinding(report: Report): string[] {
  const { settings } = splitRows(report);
  const bits = [...new Set(settings.flatMap((row) => row.bits ?? []))];
  const gains = bits.flatMap((count) => {
    const pairs = settings.flatMap((row) => {
      const other = settings.find((one) => one.method === "gptq" && one.setting === row.setting);
      if (row.method !== "rtn" || row.bits !== count || other === undefined) return [];
      return [Math.log(other.divergence.value / row.divergence.value)];
    });
    if (pairs.length === 0) return [];
    return [{ count, part: Math.exp(pairs.reduce((sum, log) => sum + log, 0) / pairs.length) }];
  });
  const best = gains.sort((a, b) => a.part - b.part)[0];
  if (best === undefined) return [];
  return [
    `GPTQ is worth most at ${best.count} bits, where its divergence from the model is ${threeDigits(best.part)} of that of ` +
      "rounding to nearest (geometric mean over the group sizes).",
  ];
}

/** Every budget beside the best uniform setting that takes no more. */
function budgetFindings(report: Report): string[] {
  const { settings } = splitRows(report);
  const mixed = settings.filter(({ method }) => method === "mixed");
  return mixed.flatMap((row) => {
    const rivals = settings.filter(
      ({ method, projectionBytes }) => method !== "mixed" && projectionBytes <= row.projectionBytes,
    );
    const best = rivals.sort((a, b) => a.divergence.value - b.divergence.value)[0];
    if (best === undefined) return [];
    const part = row.divergence.value / best.divergence.value;
    // A mixture that is not clearly better gives way to what it is compared with.
    if (part === 1 && row.projectionBytes === best.projectionBytes) {
      return [
        `With ${row.setting} no mixture is clearly nearer to the model than ${nameOf(best)} for all modules.`,
      ];
    }
    return [
      `With ${row.setting} spread over the modules as it pays, the divergence is ${threeDigits(part)} of that of the best ` +
        `uniform setting that is no larger (${nameOf(best)}).`,
    ];
  });
}

function predictionFinding({ rows }: Report): string[] {
  const parts = (["decode", "prefill"] as const).map((test) => {
    const ratios = rows.map((row) => row[test].measured / row[test].predicted).sort((a, b) => a - b);
    return `${test} at ${threeDigits(ratios[Math.floor(ratios.length / 2)] as number)} of the predicted speed`;
  });
  return [`The median setting runs ${parts.join(", ")}, which counts the projections alone.`];
}
