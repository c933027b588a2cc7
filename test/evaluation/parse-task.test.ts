import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { FileFormatError, parseTask, type Task, UsageError } from "../../src/api/index.ts";

const jsonl = (...items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join("");
const parse = (...items: readonly unknown[]) => parseTask("task.jsonl", jsonl(...items));

const HELLASWAG = {
  ind: 24,
  activity_label: "Roof shingle removal",
  ctx_a: "A man is sitting on a roof.",
  ctx_b: "he",
  ctx: "A man is sitting on a roof. he",
  endings: [
    "is using wrap to wrap a pair of skis.",
    "is  ripping [step] level tiles off.",
    "[title] holds",
    "starts.",
  ],
  label: 3,
};
const ARC = {
  id: "Mercury_7175875",
  question: {
    stem: "Why?",
    choices: [
      { text: "dry", label: "A" },
      { text: "wet", label: "B" },
    ],
  },
  answerKey: "B",
};
const PIQA = { goal: "boil water", sol1: "heat it", sol2: "cool it", label: 0 };
const WINOGRANDE = {
  sentence: "The trophy does not fit in the case because _ is too large.",
  option1: "the trophy",
  option2: "the case",
  answer: "1",
};

/** What the model is asked: layout, kind, [context, ending] of every choice of the only item, and which is right. */
function asked(task: Task) {
  const pair = ({ context, ending }: { context: string; ending: string }) => [context, ending];
  if (task.kind === "cloze") return [task.layout, ...task.items.map(pair)];
  const [{ choices, right } = expect.fail("no item")] = task.items;
  return [task.layout, right, ...choices.map(pair)];
}

describe("layouts, as lm-evaluation-harness asks them", () => {
  test("HellaSwag", () => {
    const context = "Roof shingle removal: A man is sitting on a roof. He";
    const endings = [
      "is using wrap to wrap a pair of skis.",
      "is ripping level tiles off.",
      " holds",
      "starts.",
    ];
    expect(asked(parse(HELLASWAG))).toEqual([
      "HellaSwag",
      3,
      ...endings.map((ending) => [context, ` ${ending}`]),
    ]);
    expect(asked(parse({ ...HELLASWAG, label: "3" }))).toEqual(asked(parse(HELLASWAG)));
  });

  test("ARC, as first published and as on the hub", () => {
    const expected = ["ARC", 1, ["Question: Why?\nAnswer:", " dry"], ["Question: Why?\nAnswer:", " wet"]];
    expect(asked(parse(ARC))).toEqual(expected);
    const columns = {
      question: "Why?",
      choices: { text: ["dry", "wet"], label: ["A", "B"] },
      answerKey: "B",
    };
    expect(asked(parse(columns))).toEqual(expected);
  });

  test("PIQA", () => {
    const context = "Question: boil water\nAnswer:";
    expect(asked(parse(PIQA))).toEqual(["PIQA", 0, [context, " heat it"], [context, " cool it"]]);
  });

  test("WinoGrande fills the gap and asks for the rest", () => {
    const before = "The trophy does not fit in the case because";
    expect(asked(parse(WINOGRANDE))).toEqual([
      "WinoGrande",
      0,
      [`${before} the trophy`, " is too large."],
      [`${before} the case`, " is too large."],
    ]);
  });

  test("LAMBADA asks for the last word", () => {
    expect(asked(parse({ text: "He went to the old house" }))).toEqual([
      "LAMBADA",
      ["He went to the old", " house"],
    ]);
  });

  test("the project's own", () => {
    const item = { context: "A", choices: ["b", "c", "d"], label: 2 };
    expect(asked(parse(item))).toEqual(["choices", 2, ["A", " b"], ["A", " c"], ["A", " d"]]);
  });
});

describe("files", () => {
  test("blank lines, Windows line ends and fields that are not asked for do not count; a limit does", () => {
    const text = `\n${JSON.stringify(PIQA)}\r\n  \n${JSON.stringify({ ...PIQA, more: [1] })}\r\n${JSON.stringify(PIQA)}`;
    expect(parseTask("task.jsonl", text).items.length).toBe(3);
    expect(parseTask("task.jsonl", text, 2).items.length).toBe(2);
    expect(() => parseTask("task.jsonl", text, 0)).toThrow(UsageError);
  });

  test.for([
    ["an empty file", "", "holds no items"],
    ["no JSON", `${JSON.stringify(PIQA)}\n\n{"goal": `, "line 3: is not JSON"],
    ["an array", "[]", "line 1: has the fields of no layout that is known: HellaSwag (ctx_a"],
    ["a number", "7", "line 1: has the fields of no layout"],
    ["another layout further on", jsonl(PIQA, ARC), "line 2: is not an item of PIQA: goal"],
    [
      "a label that is no choice",
      jsonl({ ...PIQA, label: 2 }),
      "line 1: is not an item of PIQA: the right answer",
    ],
    [
      "a label of a test split",
      jsonl({ ...HELLASWAG, label: "" }),
      "line 1: is not an item of HellaSwag: label",
    ],
    ["a key that is no label", jsonl({ ...ARC, answerKey: "C" }), "line 1: is not an item of ARC: answerKey"],
    [
      "no gap",
      jsonl({ ...WINOGRANDE, sentence: "No gap." }),
      "line 1: is not an item of WinoGrande: sentence",
    ],
    ["one word", jsonl({ text: "word" }), "line 1: is not an item of LAMBADA: text: has no last word"],
  ] as const)("%s", ([, text, message]) => {
    expect(() => parseTask("task.jsonl", text)).toThrow(FileFormatError);
    expect(() => parseTask("task.jsonl", text)).toThrow(message);
  });

  test("those in the package", () => {
    const read = (name: string) => {
      const file = new URL(`../../models/tasks/${name}.jsonl`, import.meta.url);
      return parseTask(name, readFileSync(file, "utf8"));
    };
    const [endings, words] = [read("tales-endings"), read("tales-last-word")];
    expect([endings.layout, endings.items.length]).toEqual(["choices", 64]);
    expect([words.layout, words.items.length]).toEqual(["LAMBADA", 64]);
    for (const { context, ending } of words.kind === "cloze" ? words.items : []) {
      // The word has been in the text before.
      expect(context.toLowerCase()).toContain(ending.trim().toLowerCase());
    }
  });
});
