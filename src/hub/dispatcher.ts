import { Agent, DecoratorHandler, Dispatcher, ProxyAgent } from "undici";
import { Interruption, interruptionOf } from "./interruption.ts";
import type { ProxyOf } from "./proxy.ts";

/** Sends each request of `fetch`, also one after a redirect, through the proxy of its address, or straight to the server. */
export class ProxyDispatcher extends Dispatcher {
  private readonly straight = new Agent();
  private readonly proxies = new Map<string, ProxyAgent>();

  constructor(private readonly proxyOf: ProxyOf) {
    super();
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandlers): boolean {
    const proxy = this.proxyOf(new URL(String(options.origin)));
    if (proxy === undefined) return this.straight.dispatch(options, handler);
    return this.agentOf(proxy).dispatch(options, new ProxyErrors(handler, proxy));
  }

  private agentOf(proxy: URL): ProxyAgent {
    const agent = this.proxies.get(proxy.href) ?? new ProxyAgent({ uri: proxy.origin, ...loginOf(proxy) });
    this.proxies.set(proxy.href, agent);
    return agent;
  }
}

/** Says which proxy it was that failed. */
class ProxyErrors extends DecoratorHandler {
  constructor(
    private readonly handler: Dispatcher.DispatchHandlers,
    private readonly proxy: URL,
  ) {
    super(handler);
  }

  onError(error: Error): void {
    const { message, details } = interruptionOf(error);
    this.handler.onError?.(new Interruption(`proxy ${this.proxy.host}: ${message}`, details));
  }
}

/** The header of a login that stands in a proxy's address. */
function loginOf({ username, password }: URL): { token?: string } {
  if (username === "") return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { token: `Basic ${Buffer.from(login).toString("base64")}` };
}
