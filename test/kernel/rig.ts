// What a kernel test stands on: a dataplane of its own, attached to a cgroup of
// its own that this process enters, and real servers that say their name.
import { execFile, execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { makeKnobs, type Knobs } from '../../src/lib/config/knobs.js';
import { cgroupRoot, mountsOf } from '../../src/lib/dataplane/cgroup.js';
import { load } from '../../src/lib/dataplane/loader.js';
import { fileSystemType, RingBuffer, type BpfMap } from '../../src/lib/dataplane/native.js';
import { openPlane } from '../../src/lib/dataplane/pins.js';
import { codecs, type Plane } from '../../src/lib/dataplane/plane.js';
import { Projector } from '../../src/lib/dataplane/projector.js';
import {
  handleAt,
  type RouteHandle,
  type RouteIndex,
} from '../../src/lib/dataplane/route-handle.js';
import { Snapshot, type BackendView } from '../../src/lib/dataplane/snapshot.js';
import type { Struct } from '../../src/lib/dataplane/struct.js';
import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';
import { assignRing } from '../../src/lib/field/ring.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';
import { PinRoom } from './pin-room.js';

/** Why kernel tests cannot run here, or undefined. CI counts a skip as a failure. */
export const unavailable = whyUnavailable();

function whyUnavailable(): string | undefined {
  const missing = [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...(existsSync('/sys/fs/bpf') && fileSystemType('/sys/fs/bpf') === 'bpf' ? [] : ['bpffs']),
    ...(mountsOf(readFileSync('/proc/self/mountinfo', 'utf8'), 'cgroup2').length > 0
      ? []
      : ['cgroup v2']),
  ];
  if (missing.length === 0) return undefined;
  const reason = `the kernel tests are skipped: this machine lacks ${missing.join(', ')}`;
  console.warn(reason);
  return reason;
}

export class NamedServer {
  private server: Server | undefined;
  port = 0;
  readonly sockets = new Set<Socket>();

  constructor(
    readonly name: string,
    /** Say the name and hang up, or keep the connection. */
    private readonly keep: boolean,
  ) {}

  async listen(): Promise<void> {
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
      if (this.keep) socket.write(this.name);
      else socket.end(this.name);
    });
    this.port = await listenOnLastingPort(this.server, this.port);
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server?.close();
    this.server = undefined;
  }
}

export interface Dialled {
  /** Who answered, or errno's name. */
  readonly answer: string;
  readonly peer: string;
}

let nextVip = 1;

export class Rig {
  readonly cgroup: string;
  private readonly room: PinRoom;
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-test-'));
  readonly servers: NamedServer[] = [];
  private readonly home = ownCgroup();
  private planeNow: Plane | undefined;
  private projectorNow: Projector | undefined;
  private ring: RingBuffer | undefined;

  constructor() {
    const own = `nity-test-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    this.room = new PinRoom(own);
    this.cgroup = join(cgroupRoot(), own);
  }

  /** Loads, enters the cgroup, and gives the dataplane its first heartbeat. */
  start(knobs: Partial<Knobs> = {}): void {
    mkdirSync(this.cgroup);
    this.room.open();
    load({
      pinPath: this.pinPath,
      cgroup: this.cgroup,
      knobs: makeKnobs({ sampleEvery: 1, ...knobs }),
      sizes: { backends: 1024, routes: 256, slots: 65_536, addresses: 256 },
    });
    this.planeNow = openPlane(this.pinPath);
    // The rig listens, without end and without a budget.
    this.planeNow.fieldState.write(0, { traceUntilNs: 2n ** 64n - 1n });
    this.ring = new RingBuffer(this.planeNow.handle('events') as BpfMap);
    this.restartProjector();
    this.enter(process.pid);
  }

  get pinPath(): string {
    return this.room.pinPath;
  }

  restartProjector(): Projector {
    this.projectorNow = new Projector(this.plane, { slotsPerRoute: 64, defaultGear: 'single' });
    this.projectorNow.heartbeat();
    return this.projectorNow;
  }

  enter(pid: number): void {
    writeFileSync(join(this.cgroup, 'cgroup.procs'), String(pid));
  }

  get plane(): Plane {
    if (this.planeNow === undefined) throw new Error('the rig has not been started');
    return this.planeNow;
  }

  get projector(): Projector {
    if (this.projectorNow === undefined) throw new Error('the rig has not been started');
    return this.projectorNow;
  }

  get snapshot(): Snapshot {
    return new Snapshot(this.plane);
  }

  async startServers(count: number, keep = false): Promise<NamedServer[]> {
    const made = Array.from(
      { length: count },
      (_, i) => new NamedServer(`server-${this.servers.length + i}`, keep),
    );
    for (const server of made) await server.listen();
    this.servers.push(...made);
    return made;
  }

  /** A route to `servers` under an address that no other test uses. */
  route(servers: readonly { port: number }[], more: Partial<Route> = {}): Route {
    const vip = `127.96.${process.pid % 250}.${nextVip++ % 250}`;
    return {
      name: routeName(`test/route-${nextVip}`, 'tcp'),
      addresses: [{ vip, port: 80, protocol: 'TCP' }],
      backends: servers.map(({ port }) => ({ address: '127.0.0.1', port })),
      affinity: { kind: 'none' },
      gear: 'single',
      ...more,
    };
  }

  /** Serves the routes with these slot counts (equal ones where none are given) and projects. */
  serve(routes: readonly Route[], counts?: readonly number[]): void {
    this.projector.reconcile(routes);
    for (const route of routes) {
      const entry = this.projector.book.routes.get(route.name);
      if (entry === undefined) throw new Error('the route was not opened');
      const ring = this.projector.ring(entry);
      if (ring.length === 0) continue;
      const indexes = [...entry.backends.values()].map(({ index }) => index);
      const even = indexes.map(
        (_, i) =>
          Math.floor(((i + 1) * ring.length) / indexes.length) -
          Math.floor((i * ring.length) / indexes.length),
      );
      const wanted = new Map(indexes.map((index, i) => [index, (counts ?? even)[i] ?? 0]));
      this.projector.setOwners(entry, assignRing(ring, wanted));
    }
    this.projector.project();
  }

  handle(route: Route): RouteHandle {
    return handleAt(this.plane, this.controlIndex(route));
  }

  controlIndex(route: Route): RouteIndex {
    const index = this.projector.book.routes.get(route.name)?.index;
    if (index === undefined) throw new Error('the route is not served');
    return index;
  }

  backendIndex(route: Route, position: number): number {
    const backend = [...(this.projector.book.routes.get(route.name)?.backends.values() ?? [])][
      position
    ];
    if (backend === undefined) throw new Error('the backend is not served');
    return backend.index;
  }

  backend(position: number): BackendView {
    const view = this.snapshot.backends()[position];
    if (view === undefined) throw new Error(`there is no backend ${position}`);
    return view;
  }

  dial(route: Route, options: { family?: 6 } = {}): Promise<Dialled> {
    const { vip, port } = addressOf(route);
    const host = options.family === 6 ? `::ffff:${vip}` : vip;
    return dial(host, port);
  }

  async dialMany(route: Route, times: number): Promise<Map<string, number>> {
    const answers = new Map<string, number>();
    for (let i = 0; i < times; i++) {
      const { answer } = await this.dial(route);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
    return answers;
  }

  /** The decisions since the last call. */
  events(): Struct<'event'>[] {
    return (this.ring?.drain() ?? []).map((bytes) => codecs.event.decodeBytes(bytes));
  }

  async stop(): Promise<void> {
    for (const server of this.servers) server.close();
    writeFileSync(join(this.home, 'cgroup.procs'), String(process.pid));
    this.ring?.close();
    this.planeNow?.close();
    this.room.close();
    rmSync(this.directory, { recursive: true, force: true });
    await until(() => {
      rmdirSync(this.cgroup);
      return true;
    });
  }

  /**
   * Runs the C helper, which does what Node's sockets cannot, and returns what it
   * prints. As a child of this process it is born into the rig's cgroup.
   */
  async sockets(mode: string, route: Route, ...numbers: readonly number[]): Promise<string> {
    const binary = join(this.directory, 'sockets');
    if (!existsSync(binary)) {
      execFileSync('cc', [
        '-O1',
        '-Wall',
        '-Wextra',
        '-o',
        binary,
        join(import.meta.dirname, 'sockets.c'),
      ]);
    }
    const { vip, port } = addressOf(route);
    const words = [mode, vip, String(port), ...numbers.map(String)];
    const { stdout } = await promisify(execFile)(binary, words, { timeout: 50_000 });
    return stdout;
  }
}

export function addressOf(route: Route): { vip: string; port: number } {
  const [address] = route.addresses;
  if (address === undefined) throw new Error('the route has no address');
  return address;
}

export function dial(host: string, port: number): Promise<Dialled> {
  return new Promise((resolve) => {
    let answer = '';
    let peer = '';
    const socket = connect({ host, port });
    socket.setTimeout(5000, () =>
      socket.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })),
    );
    socket.on('connect', () => {
      peer = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
    });
    socket.on('data', (bytes) => (answer += bytes.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) => (answer = error.code ?? 'UNKNOWN'));
    socket.on('close', () => {
      resolve({ answer, peer });
    });
  });
}

/** The same programs, but for one constant: another build with another tag. */
export function otherBuild(directory: string): string {
  const output = join(directory, 'other.bpf.o');
  const triplet = execFileSync('cc', ['-dumpmachine']).toString().trim();
  execFileSync('clang', [
    ...['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${triplet}`],
    ...['-DNITY_PATIENCE_NS=123456789ULL', '-c', 'bpf/nity.bpf.c', '-o', output],
  ]);
  return output;
}

/** Long enough for a machine that is busy with something else; short of a test's own time. */
const patienceMs = 30_000;

/** Retries what is not so yet, and says what was waited for if it does not come to be. */
export async function until(met: () => boolean, patientMs = patienceMs): Promise<void> {
  const deadline = performance.now() + patientMs;
  for (;;) {
    try {
      if (met()) return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) {
      throw new Error(`in ${patientMs / 1000} s it did not come to be that ${met.toString()}`);
    }
    await sleep(10);
  }
}

/** The cgroup v2 directory that this process is in. */
export function ownCgroup(): string {
  const line = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('0::'));
  return join(cgroupRoot(), line?.slice(3) ?? '/');
}
