import { fetch } from "undici";
import { AbortedError, NetworkError, QigenError } from "../base/errors.ts";
import { ProxyDispatcher } from "./dispatcher.ts";
import { Interruption, interruptionOf } from "./interruption.ts";
import { refusal } from "./refusal.ts";
import type { HubSettings } from "./settings.ts";

/** Waits so many milliseconds. Throws `AbortedError` when the signal fires. */
export type Pause = (ms: number, signal: AbortSignal | undefined) => Promise<void>;

/** Attempts in a row that brought nothing before it is given up. */
const ATTEMPTS = { metadata: 3, download: 6 } as const;
const FIRST_PAUSE_MS = 500;
/** Who must wait for longer may as well come back later. */
const LONGEST_PAUSE_MS = 60_000;
/** The most that a listing or description may have (bytes); a page of a listing has some hundred KB. */
const MAX_METADATA_BYTES = 16 << 20;

/** Requests about one repository: with the user's token, patient with bad connections, with typed errors. */
export class HubConnection {
  private readonly dispatcher: ProxyDispatcher;

  constructor(
    private readonly repository: string,
    readonly settings: HubSettings,
    readonly signal: AbortSignal | undefined,
    private readonly pause: Pause,
  ) {
    this.dispatcher = new ProxyDispatcher(settings.proxyOf);
  }

  /** A `fetch` for descriptions and listings: the body has arrived, and the status is a good one. */
  readonly metadata: typeof globalThis.fetch = (input, init) => {
    const url = String(input);
    const headers = Object.fromEntries(new Headers(init?.headers));
    return this.retrying(url, "metadata", () =>
      this.request(url, headers, async (response, alive) => {
        const body = await wholeBody(url, response, alive);
        return new Response(body, { status: response.status, headers: response.headers });
      }),
    );
  };

  /**
   * Repeats a download until it is done: as long as every few attempts call `progressed`.
   *
   * @throws NetworkError when they do not
   */
  download<T>(url: string, attempt: (progressed: () => void) => Promise<T>): Promise<T> {
    return this.retrying(url, "download", attempt);
  }

  /**
   * One request, and what is done with its response; `alive` is to be called when something of the body arrives.
   * Throws an `Interruption` where another request may succeed.
   */
  async request<T>(
    url: string,
    headers: Readonly<Record<string, string>>,
    use: (response: Response, alive: () => void) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs } = this.settings;
    const stalled = new AbortController();
    const timer = setTimeout(() => {
      stalled.abort(new Interruption(`nothing came for ${timeoutMs / 1000} s`));
    }, timeoutMs);
    const signal = AbortSignal.any([stalled.signal, ...(this.signal ? [this.signal] : [])]);
    try {
      const { dispatcher } = this;
      const response = await fetch(url, {
        headers: { ...this.standing(url), ...headers },
        signal,
        dispatcher,
      });
      try {
        if (!response.ok) throw refusal(url, response, this.repository, this.settings);
        return await use(response, () => timer.refresh());
      } finally {
        // Where the body was read, it is locked or at its end, and there is nothing to close.
        response.body?.cancel().catch(() => {});
      }
    } catch (error) {
      if (error instanceof QigenError) throw error;
      if (this.signal?.aborted) throw new AbortedError();
      throw interruptionOf(stalled.signal.aborted ? stalled.signal.reason : error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What all requests have. */
  private standing(url: string): Record<string, string> {
    const { endpoint, token } = this.settings;
    const isHub = new URL(url).origin === new URL(endpoint).origin;
    // Compressed on the way, a file has another size than the one that is announced.
    return {
      "Accept-Encoding": "identity",
      ...(isHub && token !== undefined ? { Authorization: `Bearer ${token}` } : {}),
    };
  }

  private async retrying<T>(
    url: string,
    what: keyof typeof ATTEMPTS,
    attempt: (progressed: () => void) => Promise<T>,
  ): Promise<T> {
    for (let failures = 0; ; ) {
      if (this.signal?.aborted) throw new AbortedError();
      try {
        return await attempt(() => {
          failures = 0;
        });
      } catch (error) {
        if (!(error instanceof Interruption)) throw error;
        failures++;
        const { retryAfterMs, unreachable } = error.details;
        const wait = retryAfterMs ?? FIRST_PAUSE_MS * 2 ** (failures - 1);
        const hopeless = what === "metadata" && unreachable;
        if (hopeless || failures >= ATTEMPTS[what] || wait > LONGEST_PAUSE_MS) {
          throw new NetworkError(url.split("?")[0] ?? url, `${error.message}${times(failures)}`, {
            cause: error,
          });
        }
        await this.pause(wait, this.signal);
      }
    }
  }
}

function times(failures: number): string {
  return failures === 1 ? "" : `, ${failures} times in a row`;
}

async function wholeBody(url: string, response: Response, alive: () => void): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    alive();
    parts.push(part);
    length += part.length;
    if (length > MAX_METADATA_BYTES) throw new NetworkError(url, "the answer has no end");
  }
  return Buffer.concat(parts);
}
