import type { Model } from "../api/model.ts";
import type { Io } from "./io.ts";
import { type EngineFlags, engineOptions } from "./options.ts";
import { progressOn, Status } from "./status.ts";

/** Loads a model as the flags say, with notices and progress on stderr. */
export async function loadForUser(path: string, flags: EngineFlags, io: Io, quiet = false): Promise<Model> {
  const { loadModel } = await import("../api/model.ts");
  const status = new Status(io.stderr, "preparing kernels", quiet);
  try {
    return await loadModel(path, {
      ...engineOptions(flags),
      onNotice: (line) => status.note(line),
      onProgress: progressOn(status),
      signal: io.interrupts.signal,
    });
  } finally {
    status.done();
  }
}
