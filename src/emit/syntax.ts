import type { ScalarOpName } from "../ir/ops.ts";
import type { Kernel, Type } from "../ir/types.ts";
import type { Isa, Row } from "../isa/isa.ts";

/** The two syntaxes differ in these lines only; `emit/walk.ts` does everything else once. */
export interface Syntax {
  readonly scalarRows: { readonly [N in ScalarOpName]: Row };
  /** Text that reads a local. */
  use(name: string): string;
  /** Replaces `@` in a memory row: address text and constant offset. */
  address(pointer: string, offset: number): { readonly operand: string; readonly at: string };
  /** An immutable local with its value. */
  declare(type: Type, name: string, expression: string): string[];
  variable(type: Type, name: string, expression: string): string[];
  assign(name: string, expression: string): string[];
  statement(expression: string): string[];
  comment(text: string): string[];
  loop(index: string, start: string, end: string, step: string, body: string[]): string[];
  branch(condition: string, body: string[], otherwise: string[]): string[];
  /** The whole function around its body. */
  function(kernel: Kernel, isa: Isa, locals: Locals, body: string[]): string[];
}

/** Names the walk gave out, for syntaxes that declare locals at the head of a function. */
export interface Locals {
  readonly parameters: readonly string[];
  readonly thread: string;
  readonly threads: string;
  readonly declared: readonly { readonly name: string; readonly type: Type }[];
  /** Hoisted constants of the ISA that rows referred to. */
  readonly constants: readonly string[];
}
