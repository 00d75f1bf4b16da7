// What the agent says of itself to commands on the same node: why the field is as
// it is, over HTTP on a unix socket that only its owner may open. Read-only.
import { createServer, request } from 'node:http';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { errnoOf } from '../errors.js';
import type { Reason } from '../field/reasons.js';
import type { NodeField, RouteField } from '../field/types.js';
import type { ClusterStatus } from '../kubernetes/status.js';
import { listenAtPath, type UnixListener } from '../sensors/unix-listener.js';
import type { Tick } from './agent.js';

export interface DatedReason extends Reason {
  /** Age at the time of the report. */
  readonly agoMs: number;
  readonly sequence: number;
}

export interface ExplainedRoute extends RouteField {
  /** The newest changes, latest first. */
  readonly reasons: readonly DatedReason[];
}

export interface Report {
  readonly schemaVersion: 1;
  readonly pid: number;
  /** Of the nity that the agent was started from. */
  readonly version: string;
  /** Inputs whose newest version was refused, so that the last good one stays in force. */
  readonly rejected: readonly Rejected[];
  readonly sequence: number;
  /** Since the tick that this tells of. */
  readonly agoMs: number;
  readonly tookMs: number;
  readonly outcome: Tick['outcome']['kind'];
  readonly node: NodeField;
  readonly routes: readonly ExplainedRoute[];
  /** Knobs in force, by name. */
  readonly knobs: Readonly<Record<string, number>>;
}

export interface Rejected {
  readonly input: AgentInput;
  readonly why: string;
}

/** What the agent reads again while it runs. */
export type AgentInput = 'services' | 'knobs';

const keptReasons = 16;
const mostBytes = 64 << 20;
const patienceMs = 2_000;

/** One for each place of pins, so that agents of a test and of the node do not meet. */
export function reportSocket(pinPath: string): string {
  const directory = process.env['NITY_RUN_DIR'] ?? '/run/nity';
  return join(directory, `${pinPath.replace(/^\/+/, '').replaceAll('/', '-')}.sock`);
}

/** The last changes of each route, and the last tick. */
export class Reporter {
  private readonly reasons = new Map<
    string,
    { reason: Reason; atMs: number; sequence: number }[]
  >();
  private tick: Tick | undefined;
  private tickMs = 0;
  private readonly rejected = new Map<AgentInput, string>();

  constructor(private readonly version: string) {}

  /** Null: the newest version of the input is in force. */
  input(input: AgentInput, rejected: string | null): void {
    if (rejected === null) this.rejected.delete(input);
    else this.rejected.set(input, rejected);
  }

  see(tick: Tick, nowMs: number, knobs: Readonly<Record<string, number>>): void {
    this.tick = tick;
    this.tickMs = nowMs;
    this.knobs = knobs;
    const served = new Set(tick.field.routes.map(({ name }) => name));
    for (const name of this.reasons.keys()) if (!served.has(name)) this.reasons.delete(name);
    for (const reason of tick.reasons) {
      if (reason.change.of === 'hold') continue;
      const known = this.reasons.get(reason.change.route) ?? [];
      known.unshift({ reason, atMs: nowMs, sequence: tick.sequence });
      this.reasons.set(reason.change.route, known.slice(0, keptReasons));
    }
  }

  private knobs: Readonly<Record<string, number>> = {};

  report(nowMs: number, route?: string): Report | undefined {
    const { tick } = this;
    if (tick === undefined) return undefined;
    const routes = tick.field.routes
      .filter(({ name }) => route === undefined || name === route)
      .map((field) => ({
        ...field,
        reasons: (this.reasons.get(field.name) ?? []).map(({ reason, atMs, sequence }) => ({
          ...reason,
          agoMs: nowMs - atMs,
          sequence,
        })),
      }));
    return {
      schemaVersion: 1,
      pid: process.pid,
      version: this.version,
      rejected: [...this.rejected].map(([input, why]) => ({ input, why })),
      sequence: tick.sequence,
      agoMs: nowMs - this.tickMs,
      tookMs: tick.tookMs,
      outcome: tick.outcome.kind,
      node: tick.field.node,
      routes,
      knobs: this.knobs,
    };
  }
}

/** What can be asked for: null when there is nothing to say of it. */
interface Asked {
  readonly field: (route?: string) => Report | undefined;
  /** Of an agent whose routes come from a cluster. */
  readonly cluster?: (() => ClusterStatus) | undefined;
}

/** Answers GET /field, GET /field?route=NAME and GET /cluster until it is closed. */
export async function serveReports(path: string, asked: Asked): Promise<UnixListener> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const server = createServer(({ method, url: given = '/' }, answer) => {
    const url = new URL(given, 'http://agent');
    const view =
      url.pathname === '/field'
        ? () => asked.field(url.searchParams.get('route') ?? undefined)
        : url.pathname === '/cluster'
          ? asked.cluster
          : undefined;
    if (method !== 'GET' || view === undefined) {
      answer.writeHead(404).end();
      return;
    }
    const report = view();
    if (report === undefined) {
      answer.writeHead(503).end();
      return;
    }
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(report));
  });
  server.headersTimeout = patienceMs;
  return listenAtPath(path, 0o600, (socket) => {
    socket.on('error', () => undefined);
    server.emit('connection', socket);
  });
}

/** The report of the agent on `pinPath`; null when no agent answers there. */
export function askAgent(pinPath: string, route?: string): Promise<Report | null> {
  const query = route === undefined ? '' : `?route=${encodeURIComponent(route)}`;
  return ask(pinPath, `/field${query}`) as Promise<Report | null>;
}

/** How the agent on `pinPath` is with its cluster; null without an agent, or without a cluster. */
export function askCluster(pinPath: string): Promise<ClusterStatus | null> {
  return ask(pinPath, '/cluster') as Promise<ClusterStatus | null>;
}

function ask(pinPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: reportSocket(pinPath), path });
    asked.setTimeout(patienceMs, () => asked.destroy());
    asked.on('error', (error) => {
      const code = errnoOf(error);
      if (code === 'EACCES' || code === 'EPERM') reject(error);
      else resolve(null);
    });
    asked.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > mostBytes) asked.destroy();
      });
      answer.on('error', () => {
        resolve(null);
      });
      answer.on('end', () => {
        resolve(answer.statusCode === 200 ? (JSON.parse(text) as unknown) : null);
      });
    });
    asked.end();
  });
}
