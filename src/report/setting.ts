/** How the projections of a model are quantized. */
export interface Setting {
  readonly method: "rtn" | "gptq";
  readonly bits: number;
  /** −1 for a whole row. */
  readonly groupSize: number;
}

/** Every method with every group size and number of bits, most bits first. */
export function settingsOf(
  bits: readonly number[],
  groupSizes: readonly number[],
  methods: readonly Setting["method"][],
): Setting[] {
  const descending = [...bits].sort((a, b) => b - a);
  return descending.flatMap((bits) =>
    groupSizes.flatMap((groupSize) => methods.map((method) => ({ method, bits, groupSize }))),
  );
}

/** "3 bits, g32". */
export function settingName({ bits, groupSize }: Setting): string {
  return `${bits} bits, ${groupSize === -1 ? "row" : `g${groupSize}`}`;
}
