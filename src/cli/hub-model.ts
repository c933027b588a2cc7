import type { PulledModel } from "../hub/pull.ts";
import type { RemoteModel } from "../hub/remote-model.ts";
import type { PullProgress } from "../hub/transfer.ts";
import { bytesText, durationText } from "../plan/text.ts";
import type { Io } from "./io.ts";
import { bar, Status } from "./status.ts";

/** How far back the rate of a download looks. */
const WINDOW_MS = 10_000;

/** A model on this machine stays what it is; one of the hub is downloaded, and becomes the path in the cache. */
export async function localModel<T>(model: T, io: Io, quiet = false): Promise<T | string> {
  const { isHubReference } = await import("../hub/reference.ts");
  return isHubReference(model) ? (await pullForUser(model, io, quiet)).path : model;
}

/** Likewise, but of a GGUF file of the hub that is not in the cache only headers are downloaded. */
export async function modelToInspect(model: string, io: Io): Promise<string | RemoteModel> {
  const { isHubReference } = await import("../hub/reference.ts");
  if (!isHubReference(model)) return model;
  const { lookAt } = await import("../hub/remote-model.ts");
  const status = new Status(io.stderr, "asking the hub");
  try {
    const { signal } = io.interrupts;
    const found = await lookAt(model, { onNotice: (line) => status.note(line), signal });
    return "path" in found ? found.path : found;
  } finally {
    status.done();
  }
}

/** Downloads what is missing of a model, with notices and progress on stderr. */
export async function pullForUser(model: string, io: Io, quiet = false): Promise<PulledModel> {
  const { pull } = await import("../hub/pull.ts");
  const status = new Status(io.stderr, "asking the hub", quiet);
  let last: PullProgress | undefined;
  const show = pullProgressOn(status);
  try {
    return await pull(model, {
      onNotice: (line) => status.note(line),
      onProgress: (progress) => {
        last = progress;
        show(progress);
      },
      signal: io.interrupts.signal,
    });
  } catch (error) {
    if (last !== undefined && last.done > 0) {
      status.note(
        `${bytesText(last.done)} of ${bytesText(last.total)} are here; the next pull goes on from there`,
      );
    }
    throw error;
  } finally {
    status.done();
  }
}

/** Shows the progress of a download on a status line, with the rate of the last seconds and the time that is left. */
export function pullProgressOn(status: Status): (progress: PullProgress) => void {
  let samples: { readonly at: number; readonly done: number }[] = [];
  return ({ stage, done, total }) => {
    const at = performance.now();
    if (stage !== "downloading") samples = [];
    samples = samples.filter((sample, i) => i === samples.length - 1 || at - sample.at < WINDOW_MS);
    if (stage === "waiting") {
      status.show(() => `another process downloads this file, waiting ${bar(done / total)}`);
      return;
    }
    if (stage === "checking") {
      status.show(() => `checking what is here ${bar(done / total)} of ${bytesText(total)}`);
      return;
    }
    samples.push({ at, done });
    status.show(() => `downloading ${bar(done / total)} of ${bytesText(total)}${rateText(samples, total)}`);
  };
}

function rateText(samples: readonly { readonly at: number; readonly done: number }[], total: number): string {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.done <= first.done) return "";
  const rate = (last.done - first.done) / ((performance.now() - first.at) / 1000);
  return `, ${bytesText(rate)}/s, ${durationText((total - last.done) / rate)} left`;
}
