import type { SyntheticModel } from "../engine/synthetic.ts";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";
import type { ModelPlan } from "../plan/model-plan.ts";

/** Flags that say how the matrices of a model are to be run. */
export interface PlanFlags {
  readonly threads?: number;
  readonly promptTokens?: number;
  readonly activations?: "int8" | "f32";
  readonly quantize?: string;
}

/** The plan of a model, in a file or synthetic, for a machine. */
export async function planFor(
  subject: string | SyntheticModel,
  machine: Machine,
  isa: Isa,
  flags: PlanFlags,
): Promise<ModelPlan> {
  const [
    { MAX_ROWS, openModel },
    { openSynthetic },
    { planMatrices },
    { planModel },
    { formatNamed },
    { modelShapes },
  ] = await Promise.all([
    import("../engine/load-model.ts"),
    import("../engine/synthetic.ts"),
    import("../engine/plan-matrices.ts"),
    import("../plan/model-plan.ts"),
    import("../quant/formats.ts"),
    import("../engine/model-shapes.ts"),
  ]);
  const quantize = flags.quantize === undefined ? undefined : formatNamed(flags.quantize);
  const threads = flags.threads ?? (isa.syntax === "wasm" ? 1 : machine.threads);
  const prefillTokens = flags.promptTokens ?? MAX_ROWS[isa.syntax === "wasm" ? "wasm" : "native"];
  const opened = typeof subject === "string" ? await openModel(subject) : openSynthetic(subject);
  const { file, spec } = opened;
  await opened.close();
  const choices = { threads, prefillTokens, activations: flags.activations ?? "int8", quantize };
  const matrices = planMatrices(spec, file, machine, isa, choices);
  return planModel(machine, isa, modelShapes(spec, matrices), { prefillTokens, threads });
}
