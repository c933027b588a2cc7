import type { Spending, Trial, TrialLoss } from "./budget.ts";
import type { Losses } from "./head-runner.ts";

/**
 * Nats a token by which the divergence of a mixture must be less. Less is lost in chance: with 4 bits, results on a small
 * model vary by 0.004 from one calibration text to the next (docs/accuracy.md).
 */
const WORTH = 0.005;

/** A mixture has to be clearly nearer to the model as it is than one format for all, and to find the text likelier. */
export function judge(mixture: Losses, uniform: Losses, { allocation }: Spending): Trial {
  const { bytes, modules } = allocation;
  const [mixed, alike] = [means(mixture), means(uniform)];
  const gain = pairedGain(uniform.surprises, mixture.surprises);
  const isBetter = alike.divergence - mixed.divergence >= WORTH && gain.value > 0;
  return {
    tokens: mixture.surprises.length,
    mixture: mixed,
    uniform: { format: modules[0]?.format ?? "", bytes, ...alike },
    gain,
    kept: isBetter ? "mixture" : "uniform",
  };
}

function means({ divergence, surprises }: Losses): TrialLoss {
  return { divergence: divergence / Math.max(1, surprises.length), surprise: mean(surprises) };
}

/** The mean of a − b, and its standard error. */
function pairedGain(a: readonly number[], b: readonly number[]): Trial["gain"] {
  const differences = a.map((value, i) => value - (b[i] as number));
  const value = mean(differences);
  const variance = mean(differences.map((one) => (one - value) ** 2));
  return { value, error: Math.sqrt(variance / Math.max(1, differences.length - 1)) };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
