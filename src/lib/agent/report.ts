// What the agent says of itself to commands on the same node: why the field is as
// it is, over HTTP on a unix socket that only its owner may open. Read-only.
import { createServer, request } from 'node:http';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { errnoOf } from '../errors.js';
import type { Reason } from '../field/reasons.js';
import type { NodeField, RouteField } from '../field/types.js';
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

/** The node and what changed of late on any route: all that a live view asks for again and again. */
export interface Changes extends Pick<Report, 'pid' | 'sequence' | 'agoMs' | 'outcome' | 'node'> {
  readonly schemaVersion: 1;
  /** The newest changes, latest first. */
  readonly changes: readonly DatedReason[];
}

export interface Rejected {
  readonly input: AgentInput;
  readonly why: string;
}

/** What the agent reads again while it runs. */
export type AgentInput = 'services' | 'knobs';

const keptReasons = 16;
const keptChanges = 200;
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
  private changes: { reason: Reason; atMs: number; sequence: number }[] = [];
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
    if (tick.reasons.length > 0) {
      const fresh = tick.reasons
        .slice(-keptChanges)
        .map((reason) => ({ reason, atMs: nowMs, sequence: tick.sequence }))
        .reverse();
      this.changes = [...fresh, ...this.changes].slice(0, keptChanges);
    }
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
        reasons: dated(this.reasons.get(field.name) ?? [], nowMs),
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

  /** Changes that are younger than the tick `after`. */
  changesSince(nowMs: number, after: number): Changes | undefined {
    const { tick } = this;
    if (tick === undefined) return undefined;
    return {
      schemaVersion: 1,
      pid: process.pid,
      sequence: tick.sequence,
      agoMs: nowMs - this.tickMs,
      outcome: tick.outcome.kind,
      node: tick.field.node,
      changes: dated(
        this.changes.filter(({ sequence }) => sequence > after),
        nowMs,
      ),
    };
  }
}

function dated(
  reasons: readonly { reason: Reason; atMs: number; sequence: number }[],
  nowMs: number,
): DatedReason[] {
  return reasons.map(({ reason, atMs, sequence }) => ({
    ...reason,
    agoMs: nowMs - atMs,
    sequence,
  }));
}

/** Answers GET /field, GET /field?route=NAME and GET /changes?after=TICK until it is closed. */
export async function serveReports(path: string, reporter: Reporter): Promise<UnixListener> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const server = createServer((asked, answer) => {
    const url = new URL(asked.url ?? '/', 'http://agent');
    if (asked.method !== 'GET' || !['/field', '/changes'].includes(url.pathname)) {
      answer.writeHead(404).end();
      return;
    }
    const report =
      url.pathname === '/changes'
        ? reporter.changesSince(performance.now(), Number(url.searchParams.get('after')))
        : reporter.report(performance.now(), url.searchParams.get('route') ?? undefined);
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
  return ask<Report>(pinPath, `/field${query}`);
}

/** What changed since the tick `after`; null when no agent answers, or one that cannot tell. */
export function askChanges(pinPath: string, after: number): Promise<Changes | null> {
  return ask<Changes>(pinPath, `/changes?after=${after}`);
}

function ask<T>(pinPath: string, path: string): Promise<T | null> {
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
        resolve(answer.statusCode === 200 ? (JSON.parse(text) as T) : null);
      });
    });
    asked.end();
  });
}
