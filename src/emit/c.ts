import type { Kernel, Type } from "../ir/types.ts";
import { floatLiteral, intLiteral } from "../isa/c-literal.ts";
import type { Isa, Row, VectorType } from "../isa/isa.ts";
import type { Locals, Syntax } from "./syntax.ts";
import { walk } from "./walk.ts";

const scalarRows: Syntax["scalarRows"] = {
  iconst: ({ number }) => intLiteral(number("value")),
  iadd: "($0 + $1)",
  isub: "($0 - $1)",
  imul: "($0 * $1)",
  idiv: "($0 / $1)",
  irem: "($0 % $1)",
  imin: "($0 < $1 ? $0 : $1)",
  imax: "($0 > $1 ? $0 : $1)",
  iand: "($0 & $1)",
  ior: "($0 | $1)",
  ixor: "($0 ^ $1)",
  ishl: "(int32_t)((uint32_t)$0 << $1)",
  ishr: "(int32_t)((uint32_t)$0 >> $1)",
  ilt: "($0 < $1)",
  ile: "($0 <= $1)",
  ieq: "($0 == $1)",
  iselect: "($0 ? $1 : $2)",
  fconst: ({ number }) => floatLiteral(number("value")),
  fadd: "($0 + $1)",
  fsub: "($0 - $1)",
  fmul: "($0 * $1)",
  fdiv: "($0 / $1)",
  fsqrt: "sqrtf($0)",
  fmin: "($0 < $1 ? $0 : $1)",
  fmax: "($0 > $1 ? $0 : $1)",
  flt: "($0 < $1)",
  fselect: "($0 ? $1 : $2)",
  itof: "(float)$0",
  ftobits: "bits_of($0)",
  bitstof: "of_bits($0)",
  addr: ({ number }) => {
    const stride = number("stride");
    const offset = number("offset");
    return `($0 + ${stride === 1 ? "" : `${stride} * `}(intptr_t)$1${offset === 0 ? "" : signed(offset)})`;
  },
  addrv: "($0 + (intptr_t)$1 * $2)",
  iload: "load_i32(@)",
  istore: "store_i32(@, $1)",
  fload: "load_f32(@)",
  fstore: "store_f32(@, $1)",
  u8load: "*(const uint8_t *)(@)",
  u8store: "*(uint8_t *)(@) = (uint8_t)$1",
  u16load: "load_u16(@)",
  u16store: "store_u16(@, $1)",
  barrier: "team_barrier(team)",
  atomicadd: "__atomic_fetch_add((int32_t *)(@), $1, __ATOMIC_RELAXED)",
  touch: "(void)*(const volatile uint8_t *)(@)",
  prefetch: ({ number }) => `__builtin_prefetch(@, 0, ${4 - number("level")})`,
};

/** Scalar helpers: unaligned access without breaking C's aliasing rules, and bit casts. */
const scalarHelpers: Record<string, string> = {
  load_i32: "static inline int32_t load_i32(const char *p) { int32_t v; memcpy(&v, p, 4); return v; }",
  store_i32: "static inline void store_i32(char *p, int32_t v) { memcpy(p, &v, 4); }",
  load_f32: "static inline float load_f32(const char *p) { float v; memcpy(&v, p, 4); return v; }",
  store_f32: "static inline void store_f32(char *p, float v) { memcpy(p, &v, 4); }",
  load_u16: "static inline int32_t load_u16(const char *p) { uint16_t v; memcpy(&v, p, 2); return v; }",
  store_u16:
    "static inline void store_u16(char *p, int32_t v) { const uint16_t h = (uint16_t)v; memcpy(p, &h, 2); }",
  bits_of: "static inline int32_t bits_of(float f) { int32_t v; memcpy(&v, &f, 4); return v; }",
  of_bits: "static inline float of_bits(int32_t v) { float f; memcpy(&f, &v, 4); return f; }",
};

function signed(offset: number): string {
  return offset < 0 ? ` - ${-offset}` : ` + ${offset}`;
}

/** The lines of a statement, continuations indented. */
function lines(statement: string): string[] {
  return statement.split("\n").map((line, i) => (i === 0 ? line : `    ${line}`));
}

function indent(lines: string[]): string[] {
  return lines.map((line) => (line === "" ? line : `  ${line}`));
}

/** Drops one pair of parentheses that encloses the whole expression. */
function bare(expression: string): string {
  if (!expression.startsWith("(") || !expression.endsWith(")")) return expression;
  let depth = 0;
  for (let i = 0; i < expression.length - 1; i++) {
    if (expression[i] === "(") depth++;
    if (expression[i] === ")" && --depth === 0) return expression;
  }
  return expression.slice(1, -1);
}

function cSyntax(isa: Isa): Syntax {
  const typeName = (type: Type): string => {
    if (type === "i32") return "int32_t ";
    if (type === "f32") return "float ";
    if (type === "ptr") return "char *";
    return `${isa.types[type as VectorType]} `;
  };
  return {
    scalarRows: scalarRows as { readonly [N in keyof typeof scalarRows]: Row },
    use: (name) => name,
    address: (pointer, offset) => ({
      operand: pointer,
      at: bare(offset === 0 ? pointer : `${pointer}${signed(offset)}`),
    }),
    declare: (type, name, expression) => {
      const kind = type === "ptr" ? "char *const " : `const ${typeName(type)}`;
      return lines(`${kind}${name} = ${bare(expression)};`);
    },
    variable: (type, name, expression) => lines(`${typeName(type)}${name} = ${bare(expression)};`),
    assign: (name, expression) => lines(`${name} = ${bare(expression)};`),
    statement: (expression) => [`${expression};`],
    comment: (text) => (text === "" ? [""] : [`// ${text}`]),
    loop: (index, start, end, step, body) => [
      `for (int32_t ${index} = ${bare(start)}; ${index} < ${end}; ${step === "1" ? `${index}++` : `${index} += ${step}`}) {`,
      ...indent(body),
      "}",
    ],
    branch: (condition, body, otherwise) => [
      `if (${bare(condition)}) {`,
      ...indent(body),
      ...(otherwise.length > 0 ? ["} else {", ...indent(otherwise)] : []),
      "}",
    ],
    function: (kernel, table, locals, body) => printFunction(kernel, table, locals, body, typeName),
  };
}

function printFunction(
  kernel: Kernel,
  isa: Isa,
  locals: Locals,
  body: string[],
  typeName: (type: Type) => string,
): string[] {
  const width = Math.max(0, ...locals.parameters.map((name) => name.length));
  const lines = kernel.parameters.map((p, i) => {
    const name = (locals.parameters[i] as string).padEnd(width);
    const slot = `arguments[${i}]`;
    if (p.type === "ptr") return `char *const   ${name} = (char *)${slot};`;
    return `const int32_t ${name} = (int32_t)${slot};`;
  });
  const comments = Math.max(0, ...lines.map((line) => line.length));
  const parameters = kernel.parameters.map((p, i) => `${(lines[i] as string).padEnd(comments)}  // ${p.doc}`);
  const constants = locals.constants.map((name) => {
    const [type, expression] = isa.constants[name] as readonly [VectorType, string];
    return `const ${typeName(type)}${name} = ${expression};`;
  });
  const unused = ["thread", "threads", "team"].filter(
    (name) => !body.some((line) => new RegExp(`\\b${name}\\b`).test(line)),
  );
  return [
    ...kernel.doc.map((line) => (line === "" ? "//" : `// ${line}`)),
    `void ${kernel.name}(const uint64_t *arguments, int32_t ${locals.thread}, int32_t ${locals.threads}, struct team *team) {`,
    ...indent([...parameters, ...unused.map((name) => `(void)${name};`), ...constants]),
    ...indent(body),
    "}",
  ];
}

/** Prints kernels as one C translation unit for an ISA of C intrinsics. */
export function emitC(kernels: readonly Kernel[], isa: Isa): string {
  const syntax = cSyntax(isa);
  const functions = kernels.map((kernel) => walk(kernel, isa, syntax).join("\n")).join("\n\n");
  const available = { ...scalarHelpers, ...isa.helpers };
  const helpers = Object.entries(available).filter(([name]) => functions.includes(`${name}(`));
  return [
    ...isa.headers,
    "#include <math.h>",
    "#include <stdint.h>",
    "#include <string.h>",
    "",
    "struct team;",
    ...(functions.includes("team_barrier(") ? ["void team_barrier(struct team *team);"] : []),
    "",
    ...helpers.map(([, text]) => text),
    ...(helpers.length > 0 ? [""] : []),
    functions,
    "",
  ].join("\n");
}
