import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";

/** A node of a parsed template. */
interface Statement {
  readonly type: string;
}

interface Value {
  readonly value: unknown;
}

/** What is used of the library's interpreter; its own declarations do not resolve under NodeNext. */
interface LibraryInterpreter {
  run(program: Statement): Value;
  evaluate(statement: Statement | undefined, environment: unknown): Value;
}

const Library = Interpreter as unknown as new (environment: unknown) => LibraryInterpreter;

/** Evaluations in one rendering, about 3 µs each. Published templates take some 50 to 100 per message. */
const STEP_LIMIT = 500_000;
/** What a round of a loop costs besides its body. */
const STEPS_PER_ROUND = 4;
/** UTF-16 units of any string that a template builds. */
const STRING_LIMIT = 1 << 24;
const RANGE_LIMIT = 100_000;

/** A template called `raise_exception`, mostly because it cannot render these messages. */
export class TemplateRefusal extends Error {}

/** Runs a parsed template within limits on its work, since templates come from strangers. */
export class TemplateRunner extends Library {
  private steps = 0;
  private readonly iterables = new Set<Statement | undefined>();

  constructor(variables: Readonly<Record<string, unknown>>) {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...globals(), ...variables })) environment.set(name, value);
    super(environment);
  }

  override evaluate(statement: Statement | undefined, environment: unknown): Value {
    this.count(1);
    if (statement?.type === "For") this.iterables.add(iterableOf(statement));
    const value = super.evaluate(statement, environment);
    const content: unknown = value.value;
    if (typeof content === "string" && content.length > STRING_LIMIT) {
      throw new Error(`builds a text of more than ${STRING_LIMIT} characters`);
    }
    if (Array.isArray(content) && this.iterables.has(statement)) this.count(STEPS_PER_ROUND * content.length);
    return value;
  }

  private count(steps: number): void {
    this.steps += steps;
    if (this.steps > STEP_LIMIT) throw new Error(`takes more than ${STEP_LIMIT} steps`);
  }
}

export type TemplateProgram = Statement;

/** Throws the library's errors for what is no template. Blocks take the line they stand on with them. */
export function parseTemplate(template: string): TemplateProgram {
  return parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })) as TemplateProgram;
}

/** What a loop goes over, without the condition of `for x in y if z`. */
function iterableOf(loop: Statement): Statement | undefined {
  const { iterable } = loop as { readonly iterable?: Statement & { readonly lhs?: Statement } };
  return iterable?.type === "SelectExpression" ? iterable.lhs : iterable;
}

/** What templates expect besides the messages. */
function globals(): Record<string, unknown> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    range,
    raise_exception: (message: unknown) => {
      throw new TemplateRefusal(String(message));
    },
  };
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= RANGE_LIMIT)) throw new Error(`range() of more than ${RANGE_LIMIT} numbers`);
  return Array.from({ length }, (_, i) => from + i * step);
}
