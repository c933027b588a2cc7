import { InternalError } from "../base/errors.ts";

const SPACE = 32;
const QUOTE = 34;
const OPEN = 40;
const CLOSE = 41;
const SEMICOLON = 59;

/** Scanner of WebAssembly text: parentheses, strings and words; `;;` comments and white space are skipped. */
export class WasmTokens {
  private cursor = 0;

  constructor(private readonly text: string) {
    this.skip();
  }

  /** The next token, consumed; "" at the end. A string keeps its opening quote and loses the closing one. */
  next(): string {
    const start = this.cursor;
    const code = this.text.charCodeAt(start);
    if (code === OPEN || code === CLOSE) this.cursor++;
    else if (code === QUOTE) return this.string();
    else this.word();
    const token = this.text.slice(start, this.cursor);
    this.skip();
    return token;
  }

  /** Whether the rest begins with `prefix`; nothing is consumed. */
  at(prefix: string): boolean {
    return this.text.startsWith(prefix, this.cursor);
  }

  /** Consumes `token` if it is next. */
  accept(token: string): boolean {
    const start = this.cursor;
    if (this.at(token) && this.next() === token) return true;
    this.cursor = start;
    return false;
  }

  expect(...tokens: readonly string[]): void {
    for (const token of tokens) {
      const found = this.next();
      if (found !== token) throw this.error(`"${token}" expected, not "${found}"`);
    }
  }

  /** The next token as a number. */
  number(): number {
    const token = this.next();
    const value = NUMBERS[token] ?? (token === "" ? Number.NaN : Number(token));
    if (Number.isNaN(value) && token !== "nan") throw this.error(`number expected, not "${token}"`);
    return value;
  }

  /** The next token as an integer in low … high. */
  integer(low: number, high: number): number {
    const value = this.number();
    if (!Number.isInteger(value) || value < low || value > high)
      throw this.error(`integer in ${low} … ${high} expected, not ${value}`);
    return value;
  }

  /** `prefix` with a number, if that is next. */
  keyword(prefix: string, high: number): number | undefined {
    if (!this.at(prefix)) return undefined;
    const token = this.next();
    const value = Number(token.slice(prefix.length));
    if (!Number.isInteger(value) || value < 0 || value > high) throw this.error(`${token} is out of range`);
    return value;
  }

  oneOf<T extends string>(...words: readonly T[]): T {
    const token = this.next();
    const word = words.find((w) => w === token);
    if (word === undefined) throw this.error(`${words.join(" or ")} expected, not "${token}"`);
    return word;
  }

  /** The next token as one of a table. */
  code(table: Readonly<Record<string, number>>, what: string): number {
    const token = this.next();
    const code = table[token];
    if (code === undefined) throw this.error(`unknown ${what} "${token}"`);
    return code;
  }

  /** Gives the next token, a name, the next index. */
  define(names: Map<string, number>): number {
    const name = this.next();
    if (names.has(name)) throw this.error(`"${name}" is defined twice`);
    names.set(name, names.size);
    return names.size - 1;
  }

  /** The index of the next token, a name. */
  index(names: ReadonlyMap<string, number>): number {
    return this.lookup(names, this.next());
  }

  lookup(names: ReadonlyMap<string, number>, name: string): number {
    const index = names.get(name);
    if (index === undefined) throw this.error(`unknown name "${name}"`);
    return index;
  }

  /** The next token as a string, unquoted. */
  quoted(): string {
    const token = this.next();
    if (!token.startsWith('"')) throw this.error(`string expected, not "${token}"`);
    return token.slice(1);
  }

  error(problem: string): InternalError {
    const line = this.text.slice(0, this.cursor).split("\n").length;
    return new InternalError(`WebAssembly text, line ${line}: ${problem}`);
  }

  private word(): void {
    const { text } = this;
    let cursor = this.cursor;
    for (; cursor < text.length; cursor++) {
      const code = text.charCodeAt(cursor);
      if (code <= SPACE || code === OPEN || code === CLOSE || code === SEMICOLON) break;
    }
    this.cursor = cursor;
  }

  private string(): string {
    const end = this.text.indexOf('"', this.cursor + 1);
    if (end < 0) throw this.error("string without an end");
    const token = this.text.slice(this.cursor, end);
    this.cursor = end + 1;
    this.skip();
    return token;
  }

  private skip(): void {
    const { text } = this;
    let cursor = this.cursor;
    for (; cursor < text.length; cursor++) {
      const code = text.charCodeAt(cursor);
      if (code === SEMICOLON && text.charCodeAt(cursor + 1) === SEMICOLON) {
        cursor = text.indexOf("\n", cursor);
        if (cursor < 0) cursor = text.length;
      } else if (code > SPACE) break;
    }
    this.cursor = cursor;
  }
}

const NUMBERS: Readonly<Record<string, number>> = {
  inf: Number.POSITIVE_INFINITY,
  "-inf": Number.NEGATIVE_INFINITY,
  nan: Number.NaN,
};
