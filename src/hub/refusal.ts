import { NetworkError, RepositoryError } from "../base/errors.ts";
import { quoted } from "./file-name.ts";
import { Interruption } from "./interruption.ts";
import type { HubSettings } from "./settings.ts";

/** Why a server did not give what it was asked for: an `Interruption` where asking again may help. */
export function refusal(url: string, response: Response, repository: string, settings: HubSettings): Error {
  const { status, headers } = response;
  if (status === 408 || status === 429 || status >= 500) {
    const retryAfterMs = retryAfter(headers.get("Retry-After"));
    return new Interruption(`the server answers ${statusText(response)}`, { retryAfterMs });
  }
  const code = headers.get("X-Error-Code");
  const refuse = (reason: RepositoryError["reason"], problem: string) =>
    new RepositoryError(repository, reason, problem);
  if (code === "GatedRepo") return refuse("gated", gated(repository, settings));
  if (code === "RevisionNotFound") return refuse("missing", "has no such revision");
  if (code === "EntryNotFound") return refuse("missing", "has no such file");
  if (code === "RepoNotFound" || status === 401) return refuse("denied", denied(settings));
  if (status === 404) return refuse("missing", `is not there: ${statusText(response)}`);
  if (status === 403) {
    return refuse("denied", `your access token does not suffice: ${statusText(response)}`);
  }
  return new NetworkError(url, `the server answers ${statusText(response)}`);
}

function gated(repository: string, { endpoint, token }: HubSettings): string {
  const accept = `accept its terms at ${endpoint}/${repository}`;
  if (token === undefined) {
    return `is gated: log in and ${accept}, then put an access token (${endpoint}/settings/tokens) in HF_TOKEN`;
  }
  return `is gated, and your access token does not open it: ${accept} with the account of the token`;
}

function denied({ endpoint, token }: HubSettings): string {
  if (token === undefined) {
    return `does not exist or is private; if it is private, put an access token (${endpoint}/settings/tokens) in HF_TOKEN`;
  }
  return "does not exist, or your access token (HF_TOKEN, or the file `token` in HF_HOME) is not valid for it";
}

function statusText({ status, headers, statusText }: Response): string {
  const text = headers.get("X-Error-Message") || statusText;
  return text === "" ? String(status) : `${status} ${quoted(text)}`;
}

/** Seconds, or a date; milliseconds from now. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? 1000 * Number(header) : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
