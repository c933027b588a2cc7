import { OPS, type OpName } from "./ops.ts";
import type { Attributes, Target } from "./types.ts";

type Attribute = Attributes[string];
/** What an attribute must be; the other attributes of the op are at hand where their sum is bounded. */
type Rule = (value: Attribute, all: Attributes, target: Target, op: OpName) => boolean;

const I32_MAX = 2 ** 31 - 1;

const integer =
  (low: number, high: number): Rule =>
  (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;

const i32 = integer(-I32_MAX - 1, I32_MAX);

const RULES: Readonly<Record<string, { readonly holds: Rule; readonly expected: string }>> = {
  value: {
    holds: (value, all, target, op) =>
      op === "iconst" || op === "viconst"
        ? i32(value, all, target, op)
        : typeof value === "number" && !Number.isNaN(value),
    expected: "an i32 for an integer constant, a number for a float constant",
  },
  offset: {
    holds: (value, all, target, op) =>
      op === "addr" ? i32(value, all, target, op) : integer(0, I32_MAX)(value, all, target, op),
    expected: "an i32 for addr, 0 … 2^31−1 for a memory op",
  },
  stride: { holds: i32, expected: "an i32" },
  bits: { holds: integer(1, 8), expected: "1 … 8" },
  shift: { holds: integer(0, 7), expected: "0 … 7" },
  mask: {
    holds: (value, all, target, op) => integer(1, 2 ** (8 - Number(all.shift)) - 1)(value, all, target, op),
    expected: "1 … 2^(8 − shift) − 1",
  },
  count: { holds: integer(0, 31), expected: "0 … 31" },
  index: { holds: integer(0, 3), expected: "0 … 3" },
  table: {
    holds: (value, all, target, op) =>
      typeof value === "object" &&
      value.length > 0 &&
      value.length <= 16 &&
      value.every((entry) => integer(0, 255)(entry, all, target, op)),
    expected: "at most 16 bytes",
  },
  level: { holds: integer(1, 2), expected: "1 or 2" },
  lanes: {
    holds: (value, all, target, op) =>
      typeof value === "object" &&
      value.length === target.lanes &&
      value.every((lane) => integer(0, target.lanes - 1)(lane, all, target, op)),
    expected: "a lane number for each lane",
  },
};

/** What is wrong with the attributes of an op. */
export function attributeProblems(op: OpName, attributes: Attributes, target: Target): string[] {
  const names: readonly string[] = OPS[op].attributes;
  const problems = Object.keys(attributes)
    .filter((name) => !names.includes(name))
    .map((name) => `has no attribute ${name}`);
  for (const name of names) {
    const value = attributes[name];
    const rule = RULES[name];
    if (value === undefined) problems.push(`lacks the attribute ${name}`);
    else if (rule === undefined) problems.push(`attribute ${name} has no rule`);
    else if (!rule.holds(value, attributes, target, op))
      problems.push(`attribute ${name} is ${JSON.stringify(value)}, must be ${rule.expected}`);
  }
  return problems;
}
