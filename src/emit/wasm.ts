import { assert } from "../base/assert.ts";
import { ARGUMENT_SLOT_BYTES, type Kernel, type Type } from "../ir/types.ts";
import type { Isa, VectorType } from "../isa/isa.ts";
import { f32Text } from "../isa/wasm-literal.ts";
import { STEP_BYTES } from "./step-layout.ts";
import type { Locals, Syntax } from "./syntax.ts";
import { walk } from "./walk.ts";
import { fill, indent, layout } from "./wasm-layout.ts";

/** The memory that a module imports, in pages of 64 KiB. A shared memory must have a maximum. */
export interface WasmMemory {
  readonly pages: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

/** Operands are texts that push a value: `$0 $1 name`. */
const scalarRows: Syntax["scalarRows"] = {
  iconst: ({ number }) => `i32.const ${number("value") | 0}`,
  iadd: "$0 $1 i32.add",
  isub: "$0 $1 i32.sub",
  imul: "$0 $1 i32.mul",
  idiv: "$0 $1 i32.div_s",
  irem: "$0 $1 i32.rem_s",
  imin: "$0 $1 $0 $1 i32.lt_s select",
  imax: "$0 $1 $0 $1 i32.gt_s select",
  iand: "$0 $1 i32.and",
  ior: "$0 $1 i32.or",
  ixor: "$0 $1 i32.xor",
  ishl: "$0 $1 i32.shl",
  ishr: "$0 $1 i32.shr_u",
  ilt: "$0 $1 i32.lt_s",
  ile: "$0 $1 i32.le_s",
  ieq: "$0 $1 i32.eq",
  iselect: "$1 $2 $0 select",
  fconst: ({ number }) => `f32.const ${f32Text(number("value"))}`,
  fadd: "$0 $1 f32.add",
  fsub: "$0 $1 f32.sub",
  fmul: "$0 $1 f32.mul",
  fdiv: "$0 $1 f32.div",
  fsqrt: "$0 f32.sqrt",
  fmin: "$0 $1 $0 $1 f32.lt select",
  fmax: "$0 $1 $0 $1 f32.gt select",
  flt: "$0 $1 f32.lt",
  fselect: "$1 $2 $0 select",
  itof: "$0 f32.convert_i32_s",
  ftobits: "$0 i32.reinterpret_f32",
  bitstof: "$0 f32.reinterpret_i32",
  addr: ({ number }) => {
    const [stride, offset] = [number("stride"), number("offset")];
    const scaled = stride === 1 ? "$1" : `$1 i32.const ${stride} i32.mul`;
    return `$0 ${scaled} i32.add${offset === 0 ? "" : ` i32.const ${offset} i32.add`}`;
  },
  addrv: "$0 $1 $2 i32.mul i32.add",
  iload: "$0 i32.load offset=@",
  istore: "$0 $1 i32.store offset=@",
  fload: "$0 f32.load offset=@",
  fstore: "$0 $1 f32.store offset=@",
  u8load: "$0 i32.load8_u offset=@",
  u8store: "$0 $1 i32.store8 offset=@",
  u16load: "$0 i32.load16_u offset=@",
  u16store: "$0 $1 i32.store16 offset=@",
  barrier: "", // nobody to wait for: `run` is a team of one thread
  atomicadd: "$0 $1 $0 i32.load offset=@ local.tee %i0 i32.add i32.store offset=@ local.get %i0",
  touch: "", // an engine would leave it out
  prefetch: "", // WebAssembly has none
};

const sharedRows: Syntax["scalarRows"] = {
  ...scalarRows,
  atomicadd: "$0 $1 i32.atomic.rmw.add offset=@",
};

function localType(type: Type, isa: Isa): string {
  if (type === "ptr" || type === "i32") return "i32";
  return type === "f32" ? "f32" : isa.types[type as VectorType];
}

/** Scratch locals of the rows, `%v0`; the dot keeps them apart from the names of values. */
const SCRATCH_TYPES: Readonly<Record<string, string>> = { v: "v128", i: "i32", f: "f32" };

function statement(text: string): string[] {
  return text === "" ? [] : layout(text.replaceAll("%", "$t."));
}

function wasmSyntax(memory: WasmMemory): Syntax {
  const set = (name: string, text: string) => statement(`${text} local.set $${name}`);
  return {
    scalarRows: memory.shared === true ? sharedRows : scalarRows,
    use: (name) => `local.get $${name}`,
    // The immediate is unsigned, and added without wrapping.
    address: (pointer, offset) =>
      offset < 0
        ? { operand: `${pointer} i32.const ${offset} i32.add`, at: "0" }
        : { operand: pointer, at: String(offset) },
    declare: (_type, name, text) => set(name, text),
    variable: (_type, name, text) => set(name, text),
    assign: set,
    statement,
    comment: (text) => (text === "" ? [""] : [`;; ${text}`]),
    loop: (index, start, end, step, body) => [
      ...set(index, start),
      ...statement(`local.get $${index} ${end} i32.lt_s if`),
      `  loop $${index}`,
      ...indent(body, 4),
      ...indent(
        statement(`local.get $${index} ${step} i32.add local.tee $${index} ${end} i32.lt_s br_if $${index}`),
        4,
      ),
      "  end",
      "end",
    ],
    branch: (condition, body, otherwise) => [
      ...statement(`${condition} if`),
      ...indent(body, 2),
      ...(otherwise.length > 0 ? ["else", ...indent(otherwise, 2)] : []),
      "end",
    ],
    function: printFunction,
  };
}

function printFunction(kernel: Kernel, isa: Isa, locals: Locals, body: string[]): string[] {
  const loads = kernel.parameters.flatMap(({ doc }, i) => {
    const offset = ARGUMENT_SLOT_BYTES * i;
    const text = `local.get $arguments i32.load offset=${offset} local.set $${locals.parameters[i]}`;
    return statement(text).map((line) => `${line}  ;; ${doc}`);
  });
  const constants = locals.constants.flatMap((name) => {
    const constant = isa.constants[name];
    assert(constant !== undefined, `${isa.name} has no constant ${name}`);
    return statement(`${constant[1]} local.set $${name}`);
  });
  return [
    ...kernel.doc.map((line) => (line === "" ? ";;" : `;; ${line}`)),
    `(func $${kernel.name} (export "${kernel.name}") ` +
      `(param $arguments i32) (param $${locals.thread} i32) (param $${locals.threads} i32)`,
    ...indent(declarations(kernel, isa, locals, body), 2),
    ...indent([...loads, ...constants, ...body], 2),
    ")",
  ];
}

/** The locals by type, several to a line. */
function declarations(kernel: Kernel, isa: Isa, locals: Locals, body: string[]): string[] {
  const names = new Map<string, string[]>(Object.values(SCRATCH_TYPES).map((type) => [type, []]));
  const add = (name: string, type: string) => names.get(type)?.push(`(local $${name} ${type})`);
  kernel.parameters.forEach(({ type }, i) => add(locals.parameters[i] as string, localType(type, isa)));
  for (const name of locals.constants) add(name, "v128");
  for (const { name, type } of locals.declared) add(name, localType(type, isa));
  for (const name of scratch(body)) add(name, SCRATCH_TYPES[name[2] as string] as string);
  return [...names.values()].flatMap(fill);
}

function scratch(body: readonly string[]): string[] {
  const found = new Set<string>();
  for (const line of body)
    if (!line.trimStart().startsWith(";;"))
      for (const [, name] of line.matchAll(/\$(t\.[vif]\d)\b/g)) found.add(name as string);
  return [...found].sort();
}

/** The driver: one thread walks the steps, and stops before a step when the cancel word is not 0. */
function driver(memory: WasmMemory): string[] {
  const poll = memory.shared === true ? "i32.atomic.load" : "i32.load";
  return [
    `;; Runs steps of ${STEP_BYTES} bytes {i32 kernel, i32 flags, u64 argument block, …} in order, as thread 0 of 1.`,
    ";; Stops before a step when the i32 at $cancel is not 0. Returns how many steps were done.",
    '(func $run (export "run") (param $steps i32) (param $count i32) (param $cancel i32) (result i32)',
    "  (local $done i32)",
    "  block $stop",
    "    loop $next",
    "      local.get $done  local.get $count  i32.ge_s  br_if $stop",
    `      local.get $cancel  ${poll}  br_if $stop`,
    "      local.get $steps  i32.load offset=8  i32.const 0  i32.const 1",
    "      local.get $steps  i32.load  call_indirect (type $kernel)",
    `      local.get $steps  i32.const ${STEP_BYTES}  i32.add  local.set $steps`,
    "      local.get $done  i32.const 1  i32.add  local.set $done",
    "      br $next",
    "    end",
    "  end",
    "  local.get $done",
    ")",
  ];
}

/**
 * Prints kernels as one WebAssembly module in the text format. It imports "env" "memory" and exports every kernel
 * under its name, `(argument block, thread, threads)`; the table "kernels" of them in order; and the driver
 * `run(steps, count, cancel) → steps done`. A pointer argument is the low half of its slot.
 */
export function emitWasm(kernels: readonly Kernel[], isa: Isa, memory: WasmMemory = { pages: 1 }): string {
  const names = kernels.map((kernel) => kernel.name);
  assert(
    new Set([...names, "run", "kernels"]).size === names.length + 2,
    "kernel names must differ from each other, from run and from kernels",
  );
  assert(memory.shared !== true || memory.maximum !== undefined, "a shared memory needs a maximum");
  const syntax = wasmSyntax(memory);
  const limits = [memory.pages, memory.maximum ?? "", memory.shared === true ? "shared" : ""];
  const count = kernels.length;
  const functions = [...kernels.map((kernel) => walk(kernel, isa, syntax)), driver(memory)];
  return [
    "(module",
    `  (import "env" "memory" (memory ${limits.filter((limit) => limit !== "").join(" ")}))`,
    "  (type $kernel (func (param i32 i32 i32)))",
    `  (table (export "kernels") ${count} ${count} funcref)`,
    `  (elem (i32.const 0) func${names.map((name) => ` $${name}`).join("")})`,
    ...functions.flatMap((lines) => ["", ...indent(lines, 2)]),
    ")",
    "",
  ].join("\n");
}
