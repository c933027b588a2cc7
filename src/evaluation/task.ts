/** A context, and text that may follow it. The ending begins with its space. */
export interface Continuation {
  readonly context: string;
  readonly ending: string;
}

/** Endings of which one is right. */
export interface ChoiceItem {
  /** Two or more. Contexts may differ. */
  readonly choices: readonly Continuation[];
  /** Index of the right one. */
  readonly right: number;
}

/** A file's questions: which of several endings is the right one (`choice`), or how a text ends (`cloze`). */
export type Task = {
  /** Where it was read from. */
  readonly file: string;
  /** Whose field layout it has. */
  readonly layout: string;
} & (
  | {
      readonly kind: "choice";
      readonly items: readonly ChoiceItem[];
      /** Whether endings of one item differ, so that their length does too. */
      readonly endingsDiffer: boolean;
    }
  | { readonly kind: "cloze"; readonly items: readonly Continuation[] }
);
