import { WasmBytes } from "./wasm-bytes.ts";
import { WasmCode } from "./wasm-code.ts";
import { VALUE_TYPES } from "./wasm-opcodes.ts";
import { WasmTokens } from "./wasm-tokens.ts";

const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const SECTIONS = { type: 1, import: 2, function: 3, table: 4, export: 7, element: 9, code: 10 } as const;
const KINDS = { function: 0, table: 1, memory: 2 } as const;
const LIMITS = { minimum: 0, both: 1, shared: 3 } as const;
const FUNCTION_TYPE = 0x60;
const FUNCREF = 0x70;
/** Of table 0, from offset `i32.const 0`. */
const ELEMENT_HEAD = Uint8Array.of(0, 0x41, 0, 0x0b);

const MAXIMUM_PAGES = 2 ** 16;

/**
 * Assembles WebAssembly text to the binary format. It takes the dialect that `emit/wasm.ts` prints, a subset of the
 * standard one: `(type …)`, imported memories, exported tables with an `(elem …)`, and functions of flat (unfolded)
 * instructions with named parameters and locals, in any order; a type is named before its first use.
 */
export function assembleWasm(text: string): Uint8Array<ArrayBuffer> {
  return new Assembler(text).run();
}

class Assembler {
  private readonly tokens: WasmTokens;
  /** Indexes of function types by content; equal types are one. */
  private readonly types = new Map<string, number>();
  private readonly typeNames = new Map<string, number>();
  private readonly functions = new Map<string, number>();
  private readonly elements: string[] = [];
  private readonly sections = new Map<keyof typeof SECTIONS, { count: number; items: WasmBytes }>();

  constructor(text: string) {
    this.tokens = new WasmTokens(text);
  }

  private readonly forms: Readonly<Record<string, () => void>> = {
    type: () => this.type(),
    import: () => this.memory(),
    table: () => this.table(),
    elem: () => this.element(),
    func: () => this.function(),
  };

  run(): Uint8Array<ArrayBuffer> {
    const { tokens } = this;
    tokens.expect("(", "module");
    while (tokens.accept("(")) {
      const keyword = tokens.next();
      const form = this.forms[keyword];
      if (form === undefined) throw tokens.error(`unknown form "(${keyword}"`);
      form();
    }
    tokens.expect(")", "");
    this.writeElements();
    const module = new WasmBytes();
    module.raw(HEADER);
    for (const [name, id] of Object.entries(SECTIONS)) {
      const section = this.sections.get(name as keyof typeof SECTIONS);
      if (section !== undefined) module.section(id, section.count, section.items);
    }
    return module.written().slice();
  }

  /** Counts one more item of a section and returns what writes it. */
  private item(name: keyof typeof SECTIONS): WasmBytes {
    const section = this.sections.get(name) ?? { count: 0, items: new WasmBytes() };
    this.sections.set(name, section);
    section.count++;
    return section.items;
  }

  private exported(name: string, kind: number, index: number): void {
    const items = this.item("export");
    items.name(name);
    items.u8(kind);
    items.unsigned(index);
  }

  /** `$name (func (param …) (result …)))` */
  private type(): void {
    const { tokens } = this;
    const name = tokens.next();
    tokens.expect("(", "func");
    const lists = { param: [] as number[], result: [] as number[] };
    while (tokens.accept("(")) {
      const list = lists[tokens.oneOf("param", "result")];
      while (!tokens.accept(")")) list.push(tokens.code(VALUE_TYPES, "type"));
    }
    tokens.expect(")", ")");
    this.typeNames.set(name, this.typeIndex(lists.param, lists.result));
  }

  private typeIndex(parameters: readonly number[], results: readonly number[]): number {
    const key = `${parameters} → ${results}`;
    const known = this.types.get(key);
    if (known !== undefined) return known;
    const items = this.item("type");
    items.u8(FUNCTION_TYPE);
    items.sized(Uint8Array.from(parameters));
    items.sized(Uint8Array.from(results));
    this.types.set(key, this.types.size);
    return this.types.size - 1;
  }

  /** `"module" "name" (memory minimum [maximum [shared]]))` */
  private memory(): void {
    const { tokens } = this;
    const items = this.item("import");
    items.name(tokens.quoted());
    items.name(tokens.quoted());
    tokens.expect("(", "memory");
    items.u8(KINDS.memory);
    const minimum = tokens.integer(0, MAXIMUM_PAGES);
    const maximum = tokens.at(")") ? undefined : tokens.integer(minimum, MAXIMUM_PAGES);
    const shared = tokens.accept("shared");
    items.u8(shared ? LIMITS.shared : maximum === undefined ? LIMITS.minimum : LIMITS.both);
    items.unsigned(minimum);
    if (maximum !== undefined) items.unsigned(maximum);
    tokens.expect(")", ")");
  }

  /** `(export "name") minimum maximum funcref)` */
  private table(): void {
    const { tokens } = this;
    tokens.expect("(", "export");
    this.exported(tokens.quoted(), KINDS.table, 0);
    tokens.expect(")");
    const items = this.item("table");
    items.u8(FUNCREF);
    items.u8(LIMITS.both);
    items.unsigned(tokens.integer(0, 2 ** 32 - 1));
    items.unsigned(tokens.integer(0, 2 ** 32 - 1));
    tokens.expect("funcref", ")");
  }

  /** `(i32.const 0) func $name …)`; written when every function has its index. */
  private element(): void {
    this.tokens.expect("(", "i32.const", "0", ")", "func");
    while (!this.tokens.accept(")")) this.elements.push(this.tokens.next());
  }

  private writeElements(): void {
    if (this.elements.length === 0) return;
    const items = this.item("element");
    items.raw(ELEMENT_HEAD);
    items.unsigned(this.elements.length);
    for (const name of this.elements) items.unsigned(this.tokens.lookup(this.functions, name));
  }

  /** `$name [(export "…")] (param $a type)… [(result type)] (local $a type)… instructions)` */
  private function(): void {
    const { tokens } = this;
    const index = tokens.define(this.functions);
    const locals = new Map<string, number>();
    const lists = { param: [] as number[], result: [] as number[], local: [] as number[] };
    while (tokens.accept("(")) {
      const keyword = tokens.oneOf("export", "param", "result", "local");
      if (keyword === "export") this.exported(tokens.quoted(), KINDS.function, index);
      else {
        if (keyword !== "result") tokens.define(locals);
        lists[keyword].push(tokens.code(VALUE_TYPES, "type"));
      }
      tokens.expect(")");
    }
    this.item("code").sized(new WasmCode(tokens, locals, this.typeNames, lists.local).assemble());
    this.item("function").unsigned(this.typeIndex(lists.param, lists.result));
  }
}
