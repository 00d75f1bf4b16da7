// What the agent says of itself to commands on the same node: why the field is as
// it is, over HTTP on a unix socket that only its owner may open. Read-only.
import { createServer, request, type ServerResponse } from 'node:http';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';

import { errnoOf } from '../errors.js';
import type { Reason } from '../field/reasons.js';
import type { NodeField, RouteField } from '../field/types.js';
import type { ClusterStatus } from '../kubernetes/status.js';
import type { KeptTicks } from '../recorder/flight.js';
import { listenAtPath, type UnixListener } from '../sensors/unix-listener.js';
import type { Tick } from './agent.js';
import type { Observing } from './observing.js';

export interface DatedReason extends Reason {
  /** Age at the time of the report. */
  readonly agoMs: number;
  readonly sequence: number;
}

/** What is in force of a route that is not enforced whole; its field is what would be. */
export interface ObservedReport extends Pick<
  Observing,
  'percent' | 'wouldHaveRefused' | 'wouldHaveIsolated'
> {
  /** By backend, "ip:port". */
  readonly slots: Readonly<Record<string, number>>;
}

export interface ExplainedRoute extends RouteField {
  /** Null: all of it is enforced. */
  readonly observed: ObservedReport | null;
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

/** Of a route, and of all routes together. */
const keptReasons = 16;
const keptReasonsOfAll = 8_000;
/** Of the node, whatever route they are of. */
const keptChanges = 200;
const mostBytes = 64 << 20;
const patienceMs = 2_000;

/** One for each place of pins, so that agents of a test and of the node do not meet. */
export function reportSocket(pinPath: string): string {
  const directory = process.env['NITY_RUN_DIR'] ?? '/run/nity';
  return join(directory, `${pinPath.replace(/^\/+/, '').replaceAll('/', '-')}.sock`);
}

interface Change {
  readonly reason: Reason;
  readonly atMs: number;
  readonly sequence: number;
}

/** The last changes of each route; of many routes, of those that changed last. */
class RouteChanges {
  /** Latest first; the route that changed last comes last. */
  private readonly byRoute = new Map<string, readonly Change[]>();
  private held = 0;

  of(route: string): readonly Change[] {
    return this.byRoute.get(route) ?? [];
  }

  add(route: string, change: Change): void {
    const before = this.of(route);
    const kept = [change, ...before.slice(0, keptReasons - 1)];
    this.byRoute.delete(route);
    this.byRoute.set(route, kept);
    this.held += kept.length - before.length;
    for (const [oldest, changes] of this.byRoute) {
      if (this.held <= keptReasonsOfAll) break;
      this.byRoute.delete(oldest);
      this.held -= changes.length;
    }
  }
}

/** The last changes, and the last tick. */
export class Reporter {
  private readonly reasons = new RouteChanges();
  private changes: Change[] = [];
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
    if (tick.reasons.length > 0) {
      const fresh = tick.reasons
        .slice(-keptChanges)
        .map((reason) => ({ reason, atMs: nowMs, sequence: tick.sequence }))
        .reverse();
      this.changes = [...fresh, ...this.changes].slice(0, keptChanges);
    }
    for (const reason of tick.reasons) {
      if (reason.change.of === 'hold') continue;
      this.reasons.add(reason.change.route, { reason, atMs: nowMs, sequence: tick.sequence });
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
        observed: observedReport(tick.observed.get(field.name)),
        reasons: dated(this.reasons.of(field.name), nowMs),
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
    const younger = this.changes.filter(({ sequence }) => sequence > after);
    return {
      schemaVersion: 1,
      pid: process.pid,
      sequence: tick.sequence,
      agoMs: nowMs - this.tickMs,
      outcome: tick.outcome.kind,
      node: tick.field.node,
      changes: dated(younger, nowMs),
    };
  }
}

function observedReport(observing: Observing | undefined): ObservedReport | null {
  if (observing === undefined) return null;
  const { percent, slots, wouldHaveRefused, wouldHaveIsolated } = observing;
  return { percent, wouldHaveRefused, wouldHaveIsolated, slots: Object.fromEntries(slots) };
}

function dated(changes: readonly Change[], nowMs: number): DatedReason[] {
  return changes.map(({ reason, atMs, sequence }) => ({
    ...reason,
    agoMs: nowMs - atMs,
    sequence,
  }));
}

/** What can be asked for. */
interface Asked {
  readonly field: (route?: string) => Report | undefined;
  readonly changes: (after: number) => Changes | undefined;
  /** Of an agent whose routes come from a cluster. */
  readonly cluster?: (() => ClusterStatus) | undefined;
  readonly keptTicks: () => Promise<KeptTicks | undefined>;
}

/** Answers GET /field, GET /field?route=NAME, GET /changes?after=TICK, GET /cluster and GET /trace until it is closed. */
export async function serveReports(path: string, asked: Asked): Promise<UnixListener> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const server = createServer(({ method, url: given = '/' }, answer) => {
    const url = new URL(given, 'http://agent');
    if (method === 'GET' && url.pathname === '/trace') {
      void asked.keptTicks().then(
        (kept) => {
          answerTicks(answer, kept);
        },
        () => answer.writeHead(500).end(),
      );
      return;
    }
    const view =
      url.pathname === '/field'
        ? () => asked.field(url.searchParams.get('route') ?? undefined)
        : url.pathname === '/changes'
          ? () => asked.changes(Number(url.searchParams.get('after')))
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

function answerTicks(answer: ServerResponse, kept: KeptTicks | undefined): void {
  if (kept === undefined) {
    answer.writeHead(404).end();
  } else if (kept.kind === 'directory') {
    const { directory } = kept;
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ directory }));
  } else {
    answer.writeHead(200, { 'content-type': 'application/octet-stream' });
    // Part by part, as fast as they are read: a slow reader costs no second copy of the ring.
    Readable.from(kept.parts)
      .on('error', () => answer.destroy())
      .pipe(answer);
  }
}

interface Answered {
  readonly type: string | undefined;
  readonly body: Buffer;
}

/** Null when no agent answers there, or it has no such thing. */
function ask(pinPath: string, path: string): Promise<Answered | null> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: reportSocket(pinPath), path });
    asked.setTimeout(patienceMs, () => asked.destroy());
    asked.on('error', (error) => {
      const code = errnoOf(error);
      if (code === 'EACCES' || code === 'EPERM') reject(error);
      else resolve(null);
    });
    asked.on('response', (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (part: Buffer) => {
        parts.push(part);
        bytes += part.length;
        if (bytes > mostBytes) asked.destroy();
      });
      answer.on('error', () => {
        resolve(null);
      });
      answer.on('end', () => {
        if (answer.statusCode !== 200) resolve(null);
        else resolve({ type: answer.headers['content-type'], body: Buffer.concat(parts) });
      });
    });
    asked.end();
  });
}

/** The report of the agent on `pinPath`; null when no agent answers there. */
export async function askAgent(pinPath: string, route?: string): Promise<Report | null> {
  const query = route === undefined ? '' : `?route=${encodeURIComponent(route)}`;
  const answered = await ask(pinPath, `/field${query}`);
  return answered === null ? null : (JSON.parse(answered.body.toString()) as Report);
}

/** What changed since the tick `after`; null when no agent answers, or one that cannot tell. */
export async function askChanges(pinPath: string, after: number): Promise<Changes | null> {
  const answered = await ask(pinPath, `/changes?after=${after}`);
  return answered === null ? null : (JSON.parse(answered.body.toString()) as Changes);
}

/** What the recorder of the agent on `pinPath` keeps; null without either. */
export async function askTicks(pinPath: string): Promise<KeptTicks | null> {
  const answered = await ask(pinPath, '/trace');
  if (answered === null) return null;
  const { type, body } = answered;
  if (type !== 'application/json') return { kind: 'bytes', parts: [body] };
  const { directory } = JSON.parse(body.toString()) as { directory: string };
  return { kind: 'directory', directory };
}

/** How the agent on `pinPath` is with its cluster; null without an agent, or without a cluster. */
export async function askCluster(pinPath: string): Promise<ClusterStatus | null> {
  const answered = await ask(pinPath, '/cluster');
  return answered === null ? null : (JSON.parse(answered.body.toString()) as ClusterStatus);
}
