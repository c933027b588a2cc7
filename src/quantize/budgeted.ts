/** Results under a budget of bytes. */

import { budgetOf, probeFormats, type Spending, spend, spendEvenly, type Trial } from "./budget.ts";
import type { Loss } from "./head-runner.ts";
import { HeldBackTexts } from "./held-back.ts";
import { type Calibration, type Job, layerSolver, leastZero, writeResult } from "./job.ts";
import { keptSensitivities } from "./kept-sensitivities.ts";
import type { QuantizeResult } from "./options.ts";
import { QuantizedTensors } from "./quantized-tensors.ts";
import { SensitivityPass } from "./sensitivity.ts";

type Calibrated = Job & { readonly calibration: Calibration };

/** Bytes that the matrices may take whose formats are open. Throws `UsageError` where they cannot take so few. */
export async function budgetFor({ source, settings, targets, writer }: Job): Promise<number | undefined> {
  const { formats, choices } = targets;
  const { limit } = settings;
  if (choices === undefined || limit === undefined) return undefined;
  const budget = await budgetOf(limit, choices, (chosen) => {
    const all = new Map([...formats, ...chosen]);
    const none = () => undefined;
    return writer.bytes(new QuantizedTensors(source.file, all, 0, undefined, new Set(), none, undefined));
  });
  // Too small a budget fails now, not after the work.
  spend(choices, new Map(), budget);
  return budget;
}

/** A mixture that one format for all matrices has beaten. */
class Outdone extends Error {
  constructor(readonly trial: Trial) {
    super("a mixture that is not to be kept");
  }
}

/**
 * Writes the model in the formats that pay most or, where these do not predict held-back text better, in the best one for
 * all that keeps to the budget.
 *
 * @param sensitivities path of a file that has them, or is to have them
 */
export async function writeWithin(
  budget: number,
  job: Calibrated,
  sensitivities: string | undefined,
): Promise<QuantizeResult> {
  const { mixture, uniform } = await chooseFormats(budget, job, sensitivities);
  const all = ({ formats }: Spending) => new Map([...job.targets.formats, ...formats]);
  const settled = (spending: Spending, trial?: Trial) => ({
    texts: [],
    allocation: async () => ({ ...spending.allocation, ...(trial === undefined ? {} : { trial }) }),
  });
  const isMixed = new Set(mixture.allocation.modules.map(({ format }) => format)).size > 1;
  if (uniform === undefined || !isMixed) return writeResult(job, all(mixture), settled(mixture));
  const { parts, heldBack } = job.calibration;
  job.meter.begin("comparing");
  const texts = await HeldBackTexts.create(parts, heldBack);
  const solver = layerSolver(job, job.calibration, all(uniform), heldBack);
  await solver.finish();
  const rival = { ...describe(uniform), ...(await texts.loss(solver.textStreams)) };
  try {
    return await writeResult(job, all(mixture), {
      texts: heldBack,
      async allocation(streams) {
        const trial = judge(texts.tokens, await texts.loss(streams), rival);
        if (trial.kept === "uniform") throw new Outdone(trial);
        return { ...mixture.allocation, trial };
      },
    });
  } catch (error) {
    if (!(error instanceof Outdone)) throw error;
    return writeResult(job, all(uniform), settled(uniform, error.trial));
  }
}

/** A mixture has to be nearer to the model as it is, and to find the text likelier. */
function judge(tokens: number, mixture: Loss, uniform: Trial["uniform"]): Trial {
  const isBetter = mixture.divergence < uniform.divergence && mixture.surprise < uniform.surprise;
  return { tokens, mixture, uniform, kept: isBetter ? "mixture" : "uniform" };
}

function describe({ allocation: { modules, bytes } }: Spending): { format: string; bytes: number } {
  return { format: modules[0]?.format ?? "", bytes };
}

async function chooseFormats(
  budget: number,
  { settings, targets, calibration, meter }: Calibrated,
  sensitivities: string | undefined,
): Promise<{ readonly mixture: Spending; readonly uniform: Spending | undefined }> {
  const { choices = [] } = targets;
  const { method, damp, order } = settings;
  meter.begin("measuring");
  const { parts, samples } = calibration;
  const options = {
    method,
    choices,
    probe: probeFormats(choices),
    damp,
    order,
    leastZero: leastZero(settings),
    samples,
    onProgress: (done: number) => meter.at(done),
  };
  const losses =
    sensitivities === undefined
      ? await new SensitivityPass(parts, options).run()
      : await keptSensitivities(sensitivities, parts, options);
  return { mixture: spend(choices, losses, budget), uniform: spendEvenly(choices, losses, budget) };
}
