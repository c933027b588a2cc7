import { OPCODES } from "./wasm-opcodes.ts";

/** Lines longer than this are broken between instructions, but never before the `local.set` that ends a statement. */
const LINE = 100;

/** Where that `local.set` starts, if the statement is shorter. */
const TARGET_COLUMN = 64;

/** Splits flat text into instructions with their immediates, and sums and drops offsets: `offset=16+8`, `offset=0`. */
function instructions(text: string): string[] {
  const list: string[] = [];
  for (const token of text.trim().split(/\s+/)) {
    if (token.startsWith("offset=")) {
      const offset = token.slice("offset=".length).split("+").map(Number);
      const sum = offset.reduce((a, b) => a + b);
      if (sum !== 0) list.push(`${list.pop()} offset=${sum}`);
    } else if (OPCODES.has(token)) list.push(token);
    else list.push(`${list.pop()} ${token}`);
  }
  return list;
}

/** Collects instructions into lines: two spaces between instructions, blocks indented. */
class Lines {
  readonly lines: string[] = [];
  private current: string[] = [];
  private width = 0;
  private depth = 0;
  private continued = false;

  add(instruction: string): void {
    const [opcode] = instruction.split(" ", 1);
    if (opcode === "else" || opcode === "end") {
      this.flush();
      this.depth--;
    }
    const isTarget = opcode === "local.set";
    if (!isTarget && this.width > 0 && this.width + 2 + instruction.length > LINE) {
      this.flush();
      this.continued = true;
    }
    this.width = (isTarget ? Math.max(this.width, TARGET_COLUMN) : this.width) + 2 + instruction.length;
    if (isTarget) this.current = [this.current.join("  ").padEnd(TARGET_COLUMN - 2)];
    this.current.push(instruction);
    if (opcode === "if" || opcode === "loop" || opcode === "block" || opcode === "else") {
      this.flush();
      this.depth++;
    }
  }

  flush(): void {
    if (this.current.length === 0) return;
    const indent = " ".repeat(2 * this.depth + (this.continued ? 4 : 0));
    this.lines.push(indent + this.current.join("  "));
    this.current = [];
    this.width = 0;
    this.continued = false;
  }
}

/** One statement of flat WebAssembly text as readable lines. */
export function layout(text: string): string[] {
  const lines = new Lines();
  for (const instruction of instructions(text)) lines.add(instruction);
  lines.flush();
  return lines.lines;
}

/** Short items as lines, several to a line. */
export function fill(items: readonly string[]): string[] {
  const lines: string[] = [];
  for (const item of items) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + item.length > LINE) lines.push(item);
    else lines[lines.length - 1] = `${last} ${item}`;
  }
  return lines;
}

export function indent(lines: readonly string[], by: number): string[] {
  return lines.map((line) => (line === "" ? line : " ".repeat(by) + line));
}
