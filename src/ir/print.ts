import {
  type Attributes,
  type Kernel,
  type Statement,
  VALUE_PREFIX,
  type Value,
  type Variable,
} from "./types.ts";

/** What a value or variable is called in the text. */
type Naming = (value: Value | Variable) => string;

/** Names for a statement on its own, as in an error message. */
const byId: Naming = (value) => {
  const { name, type, id } = "variable" in value && value.variable !== undefined ? value.variable : value;
  return name ?? `${VALUE_PREFIX[type]}${id}`;
};

/**
 * The text of a kernel, for reading and for diffs. Values are numbered in order of appearance, constants stand where
 * they are used, and a variable's read is its name.
 */
export function printKernel(kernel: Kernel): string {
  const name = numbered();
  const parameters = kernel.parameterValues.map((value) => `${name(value)}: ${value.type}`);
  name(kernel.thread);
  name(kernel.threads);
  return [
    ...kernel.doc.map((line) => `// ${line}`.trimEnd()),
    `kernel ${kernel.name}(${parameters.join(", ")}) for ${kernel.target.name}, L = ${kernel.target.lanes} {`,
    ...kernel.parameters.map((p) => `  // ${p.name}: ${p.doc}`),
    ...block(kernel.body, name),
    "}",
    "",
  ].join("\n");
}

/** One statement on its own, without the statements inside it. */
export function printStatement(statement: Statement): string {
  return lines(statement, byId, () => [])[0] ?? statement.kind;
}

function numbered(): Naming {
  const names = new Map<number, string>();
  const taken = new Set<string>();
  const counters = new Map<string, number>();
  return (value) => {
    const { name, type, id } = "variable" in value && value.variable !== undefined ? value.variable : value;
    const known = names.get(id);
    if (known !== undefined) return known;
    const base = name ?? VALUE_PREFIX[type];
    let unique = name ?? `${base}0`;
    for (let n = counters.get(base) ?? (name === undefined ? 0 : 2); taken.has(unique); n++) {
      unique = `${base}${/\d$/.test(base) ? "_" : ""}${n}`;
      counters.set(base, n + 1);
    }
    taken.add(unique);
    names.set(id, unique);
    return unique;
  };
}

function block(statements: readonly Statement[], name: Naming): string[] {
  const constants = new Map<number, string>();
  for (const s of statements)
    if (s.kind === "op" && (s.op === "iconst" || s.op === "fconst") && s.result !== undefined)
      constants.set(s.result.id, number(s.attributes.value));
  const inner: Naming = (value) => constants.get(value.id) ?? name(value);
  return statements
    .filter((s) => !(s.kind === "op" && s.result !== undefined && constants.has(s.result.id)))
    .flatMap((s) => lines(s, inner, (body) => block(body, inner)))
    .map((line) => `  ${line}`);
}

function lines(s: Statement, name: Naming, nested: (body: readonly Statement[]) => string[]): string[] {
  switch (s.kind) {
    case "op": {
      const operands = [...s.operands.map(name), ...attributes(s.attributes)].join(", ");
      return [definition(s.result, name) + `${s.op} ${operands}`.trimEnd()];
    }
    case "dot": {
      const sum = s.sum === undefined ? "" : `${name(s.sum)} + `;
      return [`${definition(s.result, name)}${s.op} ${sum}${name(s.weight)} · ${name(s.activation)}`];
    }
    case "close": {
      const accumulator = s.accumulator === undefined ? "" : `${name(s.accumulator)} + `;
      return [`${definition(s.result, name)}close ${s.op} ${accumulator}${name(s.sum)}`];
    }
    case "variable":
      return [`var ${definition(s.variable, name)}${name(s.initial)}`];
    case "assign":
      return [`${name(s.variable)} ← ${name(s.value)}`];
    case "comment":
      return [`// ${s.text}`];
    case "loop": {
      const [start, end, step] = [name(s.start), name(s.end), name(s.step)];
      return [`loop ${name(s.index)} = ${start} … ${end} step ${step} {`, ...nested(s.body), "}"];
    }
    case "if": {
      const otherwise = s.otherwise.length === 0 ? [] : ["} else {", ...nested(s.otherwise)];
      return [`if ${name(s.condition)} {`, ...nested(s.body), ...otherwise, "}"];
    }
  }
}

/** `name: type = `, where a vector of codes shows its range as `u4`. */
function definition(value: Value | Variable | undefined, name: Naming): string {
  if (value === undefined) return "";
  const type = value.type === "vu8" && value.bits !== undefined ? `u${value.bits}` : value.type;
  return `${name(value)}: ${type} = `;
}

function attributes(values: Attributes): string[] {
  return Object.entries(values).map(([key, value]) => {
    return `${key}=${typeof value === "object" ? `[${value.join(" ")}]` : number(value)}`;
  });
}

function number(value: Attributes[string] | undefined): string {
  return Object.is(value, -0) ? "-0" : String(value);
}
