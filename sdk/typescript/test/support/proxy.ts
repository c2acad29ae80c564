/** A small HTTP proxy in front of the gateway that causes the faults that a test chooses. */
import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { within } from "./wait.js";

/** What the proxy does with a request. */
export type Fault =
  /** Passes it through. */
  | "pass"
  /** The connection is cut before the gateway sees the request. */
  | "cut-before"
  /** The gateway answers, and then the connection is cut. */
  | "cut-after"
  /** The connection is cut within the answer's body. */
  | "cut-within"
  /** 503 with Retry-After; the gateway does not see the request. */
  | "busy"
  /** The gateway answers, and the client gets a 503. */
  | "busy-after"
  /** 429 with Retry-After: too many reads are running. */
  | "too-many-reads"
  /** 404, as from a gateway without this path. */
  | "not-found"
  /** The gateway gets a batch without its first operation, whose result is 503. */
  | "first-not-done"
  /** 502, as from another proxy. */
  | "bad-gateway"
  /** The gateway answers, and the client gets a different body with status 200. */
  | "garbage"
  | "garbage-json"
  /** The gateway answers, but the client gets no answer until its timeout: see `timeoutsOfSlowOnes`. */
  | "slow";

/** A request that the proxy has received. */
export interface Seen {
  method: string;
  path: string;
  body: string;
  idempotencyKey: string | undefined;
  authorization: string | undefined;
  fault: Fault;
}

export interface Proxy {
  url: string;
  seen: Seen[];
  /** The faults of the next requests; later ones pass. */
  next: (...faults: Fault[]) => void;
  /** Chooses the fault of every request from now on. */
  always: (choose: (request: { path: string; body: string }) => Fault) => void;
  /** Resolves when the condition holds, which is checked after each request. */
  until: (condition: (seen: Seen[]) => boolean) => Promise<void>;
  /** Called with the `x-attempt` of a `slow` request after the gateway's answer. */
  onSlow: (attempt: string | undefined) => void;
}

interface Answered {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Starts a proxy in front of `target`; it ends with the test file. */
export async function startProxy(target: string): Promise<Proxy> {
  const seen: Seen[] = [];
  const queue: Fault[] = [];
  let choose: (request: { path: string; body: string }) => Fault = () => "pass";
  const waiting = new Set<() => void>();
  const agent = new Agent({ keepAlive: true });

  async function forward(incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const { host: _, connection: __, ...headers } = { ...incoming.headers, "content-length": String(body.length) };
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = httpRequest(new URL(incoming.url!, target), { method: incoming.method, headers, agent }, resolve);
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  async function whole(answer: IncomingMessage): Promise<Answered> {
    return { status: answer.statusCode!, headers: answer.headers, body: await bodyOf(answer) };
  }

  /** Passes the answer through as it arrives, since a stream of events does not end. */
  function pass(answer: IncomingMessage, response: ServerResponse): void {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(response);
    response.on("close", () => answer.destroy());
  }

  function busy(response: ServerResponse): void {
    const problem = { type: "about:blank", title: "Busy", status: 503, code: "store_unavailable", detail: "Busy.", requestId: "r" };
    response.writeHead(503, { "content-type": "application/problem+json", "retry-after": "0" }).end(JSON.stringify(problem));
  }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(incoming);
    const path = incoming.url!;
    const fault = queue.shift() ?? choose({ path, body: body.toString() });
    const header = (name: string) => incoming.headers[name] as string | undefined;
    const entry = { method: incoming.method!, path, body: body.toString(), idempotencyKey: header("idempotency-key"), authorization: header("authorization"), fault };
    try {
      if (fault === "cut-before") return void incoming.socket.destroy();
      if (fault === "busy") { busy(response); return; }
      if (fault === "too-many-reads") {
        const problem = { type: "about:blank", title: "Busy", status: 429, code: "too_many_reads", detail: "Busy.", requestId: "r" };
        response.writeHead(429, { "content-type": "application/problem+json", "retry-after": "0" }).end(JSON.stringify(problem));
        return;
      }
      if (fault === "not-found") {
        const problem = { type: "about:blank", title: "Not found", status: 404, code: "not_found", detail: `The path ${path} does not exist.`, requestId: "r" };
        response.writeHead(404, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
        return;
      }
      if (fault === "bad-gateway") return void response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad gateway</h1>");
      if (fault === "first-not-done") {
        const batch = JSON.parse(body.toString()) as { operations: unknown[] };
        const answer = await whole(await forward(incoming, Buffer.from(JSON.stringify({ operations: batch.operations.slice(1) }))));
        const { results } = JSON.parse(answer.body.toString()) as { results: unknown[] };
        const problem = { type: "about:blank", title: "Busy", status: 503, code: "store_unavailable", detail: "Busy.", requestId: "r" };
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ results: [{ status: 503, body: problem }, ...results] }));
        return;
      }
      const forwarded = await forward(incoming, body);
      if (fault === "pass") { pass(forwarded, response); return; }
      const answer = await whole(forwarded);
      if (fault === "cut-after") return void incoming.socket.destroy();
      if (fault === "busy-after") { busy(response); return; }
      if (fault === "garbage") return void response.writeHead(200, { "content-type": "application/json" }).end('{"allowed":tr');
      if (fault === "garbage-json") return void response.writeHead(200, { "content-type": "application/json" }).end('{"status":"ok"}');
      if (fault === "slow") return void setImmediate(() => proxy.onSlow(header("x-attempt")));
      // cut-within
      response.writeHead(answer.status, { ...answer.headers, "content-length": String(answer.body.length) });
      response.write(answer.body.subarray(0, answer.body.length >> 1), () => incoming.socket.destroy());
    } finally {
      seen.push(entry);
      for (const look of waiting) look();
    }
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  after(() => {
    server.closeAllConnections();
    server.close();
    agent.destroy();
  });

  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    next: (...faults) => void queue.push(...faults),
    always: (chosen) => void (choose = chosen),
    until: (condition) => {
      const met = new Promise<void>((resolve) => {
        const look = () => {
          if (!condition(seen)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
      return within(() => `${String(condition)}, having seen ${seen.map(({ path, fault }) => `${path} ${fault}`).join(", ")}`, met);
    },
    onSlow: () => {},
  };
  return proxy;
}
