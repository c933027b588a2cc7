import { z } from "zod";
import type { ChoiceItem, Continuation } from "./task.ts";

/**
 * How a data set writes an item on a line, and what the model is asked, which is what lm-evaluation-harness asks. Fields
 * that are not named here may be there too.
 */
interface LayoutOf<K extends "choice" | "cloze", Item> {
  readonly name: string;
  readonly kind: K;
  /** Fields that tell this layout from the others. */
  readonly fields: readonly string[];
  /** Reads an item. `safeParse` says what is wrong with one. */
  readonly schema: z.ZodType<Item>;
  readonly endingsDiffer: boolean;
}

export type Layout = LayoutOf<"choice", ChoiceItem> | LayoutOf<"cloze", Continuation>;

/** A number, or one written as text, as both are found. */
const index = z.union([z.int().min(0), z.string().regex(/^\d+$/, "is not a number").transform(Number)]);

/** All choices after one context. */
function choicesAfter(context: string, endings: readonly string[], right: number): ChoiceItem {
  return { choices: endings.map((ending) => ({ context, ending: ` ${ending}` })), right };
}

/** An item with its right answer among its choices. */
function withAnswer<T extends z.ZodType<ChoiceItem>>(schema: T) {
  return schema.refine(({ choices, right }) => right < choices.length, {
    message: "the right answer is none of the choices",
  });
}

/** As the harness cleans texts that came from WikiHow. */
function cleaned(text: string): string {
  return text
    .trim()
    .replaceAll(" [title]", ". ")
    .replace(/\[.*?\]/g, "")
    .replaceAll("  ", " ");
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}

const hellaswag = withAnswer(
  z
    .object({
      activity_label: z.string(),
      ctx_a: z.string(),
      ctx_b: z.string(),
      endings: z.array(z.string()).min(2),
      label: index,
    })
    .transform(({ activity_label, ctx_a, ctx_b, endings, label }) =>
      choicesAfter(cleaned(`${activity_label}: ${ctx_a} ${capitalized(ctx_b)}`), endings.map(cleaned), label),
    ),
);

const labelled = z.object({ text: z.string(), label: z.string() });
/** Choices as objects (as first published) or as columns (as on the hub). */
const arcChoices = z.union([
  z.array(labelled),
  z
    .object({ text: z.array(z.string()), label: z.array(z.string()) })
    .transform(({ text, label }) => text.map((one, i) => ({ text: one, label: label[i] ?? "" }))),
]);
const arcQuestion = z.union([
  z
    .object({ question: z.object({ stem: z.string(), choices: arcChoices }), answerKey: z.string() })
    .transform(({ question, answerKey }) => ({ ...question, answerKey })),
  z
    .object({ question: z.string(), choices: arcChoices, answerKey: z.string() })
    .transform(({ question, ...rest }) => ({ stem: question, ...rest })),
]);
const arc = arcQuestion.transform(({ stem, choices, answerKey }, context) => {
  const right = choices.findIndex(({ label }) => label === answerKey);
  if (right < 0 || choices.length < 2) {
    context.addIssue({ code: "custom", message: "answerKey is the label of none of its choices" });
    return z.NEVER;
  }
  return choicesAfter(
    `Question: ${stem}\nAnswer:`,
    choices.map(({ text }) => text),
    right,
  );
});

const piqa = withAnswer(
  z
    .object({ goal: z.string(), sol1: z.string(), sol2: z.string(), label: index })
    .transform(({ goal, sol1, sol2, label }) =>
      choicesAfter(`Question: ${goal}\nAnswer:`, [sol1, sol2], label),
    ),
);

/** The gap is filled with each option; how likely the rest is after that decides (Trinh and Le 2018). */
const winogrande = z
  .object({
    sentence: z.string().regex(/^[^_]*_[^_]*$/, "has no gap, or several"),
    option1: z.string(),
    option2: z.string(),
    answer: z.enum(["1", "2"]),
  })
  .transform(({ sentence, option1, option2, answer }) => {
    const [before = "", after = ""] = sentence.split("_");
    const choices = [option1, option2].map((option) => ({
      context: before + option,
      ending: ` ${after.trim()}`,
    }));
    return { choices, right: Number(answer) - 1 };
  });

const lambada = z.object({ text: z.string().regex(/\S \S+$/, "has no last word") }).transform(({ text }) => {
  const last = text.lastIndexOf(" ");
  return { context: text.slice(0, last), ending: text.slice(last) };
});

const plain = withAnswer(
  z
    .object({ context: z.string(), choices: z.array(z.string()).min(2), label: index })
    .transform(({ context, choices, label }) => choicesAfter(context, choices, label)),
);

export const LAYOUTS: readonly Layout[] = [
  {
    name: "HellaSwag",
    kind: "choice",
    fields: ["ctx_a", "ctx_b", "endings"],
    schema: hellaswag,
    endingsDiffer: true,
  },
  { name: "ARC", kind: "choice", fields: ["question", "answerKey"], schema: arc, endingsDiffer: true },
  { name: "PIQA", kind: "choice", fields: ["goal", "sol1", "sol2"], schema: piqa, endingsDiffer: true },
  {
    name: "WinoGrande",
    kind: "choice",
    fields: ["sentence", "option1", "option2"],
    schema: winogrande,
    endingsDiffer: false,
  },
  { name: "choices", kind: "choice", fields: ["context", "choices"], schema: plain, endingsDiffer: true },
  { name: "LAMBADA", kind: "cloze", fields: ["text"], schema: lambada, endingsDiffer: false },
];
