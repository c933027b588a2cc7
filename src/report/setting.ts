/** How the projections of a model are quantized: all alike, or each as it pays within a budget. */
export type Setting = UniformSetting | MixedSetting;

export interface UniformSetting {
  readonly method: "rtn" | "gptq";
  readonly bits: number;
  /** −1 for a whole row. */
  readonly groupSize: number;
}

export interface MixedSetting {
  readonly method: "mixed";
  /** Bits per weight of all projections together, scales among them, at most. */
  readonly budget: number;
}

/** Every method with every group size and number of bits, most bits first; then the budgets, largest first. */
export function settingsOf(
  bits: readonly number[],
  groupSizes: readonly number[],
  methods: readonly UniformSetting["method"][],
  budgets: readonly number[],
): Setting[] {
  const descending = (values: readonly number[]) => [...values].sort((a, b) => b - a);
  const uniform = descending(bits).flatMap((bits) =>
    groupSizes.flatMap((groupSize) => methods.map((method): Setting => ({ method, bits, groupSize }))),
  );
  return [...uniform, ...descending(budgets).map((budget): Setting => ({ method: "mixed", budget }))];
}

/** "3 bits, g32"; of a budget "3.25 bpw". */
export function settingName(setting: Setting): string {
  if (setting.method === "mixed") return `${setting.budget} bpw`;
  const { bits, groupSize } = setting;
  return `${bits} bits, ${groupSize === -1 ? "row" : `g${groupSize}`}`;
}

/** The flags of `qigen quantize`, besides those of the calibration. */
export function quantizeFlags(setting: Setting): string[] {
  if (setting.method === "mixed") return ["--budget", `${setting.budget}bpw`];
  const { method, bits, groupSize } = setting;
  return ["--method", method, "--bits", String(bits), `--group-size=${groupSize}`];
}
