import type { Command } from "commander";
import type { GenerationResult } from "../api/generation.ts";
import type { Model } from "../api/model.ts";
import { AbortedError, UsageError } from "../base/errors.ts";
import type { ChatMessage } from "../text/chat.ts";
import { ChatInput } from "./chat-input.ts";
import { localModel } from "./hub-model.ts";
import { type Io, safeText, write } from "./io.ts";
import { loadForUser } from "./load.ts";
import {
  addEngineOptions,
  addExamples,
  addSamplingOptions,
  checkSampling,
  type EngineFlags,
  type GenerateFlags,
  generateOptions,
} from "./options.ts";
import { timingLines } from "./timings.ts";

interface ChatFlags extends EngineFlags, GenerateFlags {
  readonly system?: string;
  readonly timings?: boolean;
}

const HELP = "/reset forgets the conversation, /exit (or Ctrl-D) ends; Ctrl-C stops an answer\n";

export function addChat(program: Command, io: Io): void {
  const command = program
    .command("chat")
    .description(
      "Talk with a model that was trained for it. When standard input is no terminal, every line of it is a turn.",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, or hf:owner/name of the hub, with a chat template")
    .option("-s, --system <text>", "what the model is told before the conversation")
    .option("--timings", "tokens and speed after every answer");
  addEngineOptions(addSamplingOptions(command));
  addExamples(command, [
    ["talk", 'qigen chat model.gguf --system "Answer in one sentence."'],
    ["one question from a script", 'echo "Why is the sky blue?" | qigen chat model.gguf --temperature 0'],
  ]);
  command.action((model: string, flags: ChatFlags) => chat(model, flags, io));
}

async function chat(named: string, flags: ChatFlags, io: Io): Promise<void> {
  await checkSampling(flags);
  const path = await localModel(named, io);
  await checkTemplate(path);
  const model = await loadForUser(path, flags, io);
  const input = new ChatInput(io);
  try {
    if (input.interactive) io.stderr.write(HELP);
    await converse(model, flags, input, io);
  } finally {
    input.close();
    await model.dispose();
  }
}

/** Finds out that a model cannot chat before it is loaded, not after. */
async function checkTemplate(path: string): Promise<void> {
  const [{ openModelFiles }, { requireChatTemplate }] = await Promise.all([
    import("../host/model-files.ts"),
    import("../text/chat.ts"),
  ]);
  const files = await openModelFiles(path);
  try {
    requireChatTemplate(files.chatTemplate(), path);
  } finally {
    await files.close();
  }
}

async function converse(model: Model, flags: ChatFlags, input: ChatInput, io: Io): Promise<void> {
  const beginning: ChatMessage[] =
    flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
  let messages = [...beginning];
  for (;;) {
    const line = await input.next();
    if (line === undefined || line === "/exit") return;
    if (line.trim() === "") continue;
    if (line === "/help") io.stderr.write(HELP);
    else if (line === "/reset") messages = [...beginning];
    else messages = await turn(model, [...messages, { role: "user", content: line }], flags, input, io);
  }
}

/** One question and its answer; returns the conversation with the answer, or without either where there is none. */
async function turn(
  model: Model,
  messages: readonly ChatMessage[],
  flags: ChatFlags,
  input: ChatInput,
  io: Io,
): Promise<ChatMessage[]> {
  let answer = "";
  const onPiece = async (piece: string) => {
    answer += piece;
    await write(io.stdout, safeText(io.stdout, piece));
  };
  try {
    const result = await ask(model, messages, flags, onPiece, io);
    await write(io.stdout, "\n");
    if (flags.timings) io.stderr.write(timingLines(result));
    if (result.stopReason === "context") io.stderr.write("(the context is full; /reset starts anew)\n");
  } catch (error) {
    const stopped = error instanceof AbortedError && !io.interrupts.signal.aborted && !io.stdout.destroyed;
    const refused = error instanceof UsageError && input.interactive;
    if (answer !== "" && !io.stdout.destroyed) await write(io.stdout, "\n");
    if (!stopped && !refused) throw error;
    io.stderr.write(stopped ? "(stopped)\n" : `qigen: ${error.message}; /reset starts anew\n`);
  }
  return answer === "" ? messages.slice(0, -1) : [...messages, { role: "assistant", content: answer }];
}

async function ask(
  model: Model,
  messages: readonly ChatMessage[],
  flags: ChatFlags,
  onPiece: (piece: string) => Promise<void>,
  io: Io,
): Promise<GenerationResult> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, io.interrupts.signal]);
  const restore = io.interrupts.divert(() => stop.abort());
  try {
    const text = model.chat(messages, { ...generateOptions(flags), signal });
    let next = await text.next();
    for (; !next.done; next = await text.next()) await onPiece(next.value);
    return next.value;
  } finally {
    restore();
  }
}
