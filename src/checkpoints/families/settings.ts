/** Values of config.json, checked. */

import { UnsupportedError } from "../../base/errors.ts";
import { quoted } from "../../files/quoted.ts";
import type { Activation } from "../../kernels/gate.ts";
import type { JsonView } from "../../text/json-view.ts";

/** Largest value of any dimension that is believed; the models' own limit. */
export const MAX_DIMENSION = 2 ** 24;
/** Largest number of layers, likewise. */
export const MAX_LAYERS = 4096;

/** A dimension or count under the first of several names that is there; the fallback where none is. */
export function size(
  config: JsonView,
  names: readonly string[],
  fallback: number | undefined,
  most = MAX_DIMENSION,
): number {
  const name = names.find((one) => config.get(one) !== undefined) ?? names[0] ?? "";
  const value = config.integer(name, 1, most) ?? fallback;
  if (value === undefined) throw config.error(name, "is missing");
  return value;
}

/** A number that must be above 0; the fallback where it is absent. */
export function positive(config: JsonView, key: string, fallback?: number): number {
  const value = config.number(key) ?? fallback;
  if (value === undefined) throw config.error(key, "is missing");
  if (!(value > 0 && Number.isFinite(value))) throw config.error(key, `is ${value}, not a number above 0`);
  return value;
}

/** Throws `UnsupportedError` where a setting is there and not the one that is known. */
export function expectSetting(config: JsonView, key: string, known: boolean | string | number): void {
  const value =
    typeof known === "boolean"
      ? config.bool(key)
      : typeof known === "number"
        ? config.number(key)
        : config.string(key);
  if (value === undefined || value === known) return;
  throw new UnsupportedError(`${config.file}: ${key} ${JSON.stringify(value)} is not supported`);
}

/** Functions by Hugging Face's names; `gelu` is the one that is defined by the normal distribution. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  relu: "relu",
  gelu: "gelu_erf",
  gelu_new: "gelu",
  gelu_fast: "gelu",
  gelu_pytorch_tanh: "gelu",
};

/** The function of feed-forward blocks. Throws `UnsupportedError` for one that is not known, listing those that are. */
export function activation(config: JsonView, key: string, fallback: string): Activation {
  const name = config.string(key) ?? fallback;
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name] as Activation;
  const known = Object.keys(ACTIVATIONS).join(", ");
  throw new UnsupportedError(`${config.file}: ${key} ${quoted(name)} is not supported; known: ${known}`);
}

/** What config.json calls a function: the usual name, if that means it. Throws `UnsupportedError` where there is none. */
export function activationName(wanted: Activation, usual: string): string {
  const found = [usual, ...Object.keys(ACTIVATIONS)].find((name) => ACTIVATIONS[name] === wanted);
  if (found !== undefined) return found;
  throw new UnsupportedError(`the function ${wanted} of feed-forward blocks`);
}

/** The shortest decimal number that is the same f32: 1e-5, not 9.999999747378752e-6. */
export function shortest(value: number): number {
  const single = Math.fround(value);
  // Nine digits tell every f32 from all others.
  const digits = [6, 7, 8].find((count) => Math.fround(Number(single.toPrecision(count))) === single) ?? 9;
  return Number(single.toPrecision(digits));
}
