// What the measurements stand on: servers in network namespaces of their own, a
// cgroup and a pin path of their own, and clients that are put where a
// measurement wants them. Everything made is undone by close().
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { makeKnobs } from '../src/lib/config/knobs.js';
import type { RouteEntry } from '../src/lib/dataplane/book.js';
import { cgroupRoot } from '../src/lib/dataplane/cgroup.js';
import type { LatencySource } from '../src/lib/dataplane/initialise.js';
import { load } from '../src/lib/dataplane/loader.js';
import type { LoadReport } from '../src/lib/dataplane/loading.js';
import { unload } from '../src/lib/dataplane/unload.js';
import { BpfMap, RingBuffer } from '../src/lib/dataplane/native.js';
import { mapPin, openPlane } from '../src/lib/dataplane/pins.js';
import type { Plane } from '../src/lib/dataplane/plane.js';
import { Projector } from '../src/lib/dataplane/projector.js';
import { routeName, type Route } from '../src/lib/routes/route-set.js';
import { end, removeCgroup, Undo } from './undo.js';

const run = promisify(execFile);
const build = fileURLToPath(new URL('../bpf/build/', import.meta.url));
const source = fileURLToPath(new URL('.', import.meta.url));
const connectLoad = join(build, 'connect-load');
export const exchangeLoad = join(build, 'exchange-load');
export const emptyObject = join(build, 'empty.bpf.o');

export const port = 18080;
/** All served by one listener, so that what differs between two dials is the way there. */
export const backends = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
export const directAddress = '127.0.0.1';
/** The first route's; each later route has the next address. */
export const firstVip = '127.96.0.0';
const dialMsMax = 60_000;

/** What kube-proxy does, at its cheapest: one rule, and a map of four backends. */
const kernelNat = `table ip nity_bench {
  chain out {
    type nat hook output priority -100
    ip daddr 127.96.0.0/16 tcp dport ${port} dnat to numgen inc mod ${backends.length} map { ${backends
      .map((address, i) => `${i} : ${address}`)
      .join(', ')} }
  }
}`;

export function compile(): void {
  for (const load of [connectLoad, exchangeLoad]) {
    execFileSync('cc', ['-O2', '-Wall', '-o', load, join(source, `${basename(load)}.c`)]);
  }
  const triplet = execFileSync('cc', ['-dumpmachine'], { encoding: 'utf8' }).trim();
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${triplet}`];
  execFileSync('clang', [...flags, '-c', join(source, 'empty.bpf.c'), '-o', emptyObject]);
}

function routes(count: number): Route[] {
  return Array.from({ length: count }, (_, i) => ({
    name: routeName(`bench/service-${i}`, 'http'),
    addresses: [{ vip: `127.96.${i >> 8}.${i & 255}`, port, protocol: 'TCP' }],
    backends: backends.map((address) => ({ address, port })),
    affinity: { kind: 'none' },
    gear: 'auto',
  }));
}

type Ring = readonly [entry: RouteEntry, owners: Uint32Array];

/** A dataplane that serves `count` routes of four backends each, with one cgroup of its own. */
export class Dataplane {
  readonly plane: Plane;
  readonly projector: Projector;
  private readonly events: RingBuffer;
  private shift = 0;

  constructor(
    readonly pinPath: string,
    readonly cgroup: string,
    readonly report: LoadReport,
    count: number,
    slotsPerRoute: number,
  ) {
    this.plane = openPlane(pinPath);
    this.events = new RingBuffer(BpfMap.open(mapPin(pinPath, 'events')));
    this.projector = new Projector(this.plane, { slotsPerRoute, defaultGear: 'twin' });
    this.projector.reconcile(routes(count));
    this.setRings(this.turnedRings());
    this.projector.project();
    this.projector.heartbeat();
  }

  /** Rings in which each slot of each route has another owner than in either table. */
  turnedRings(): Ring[] {
    this.shift++;
    return [...this.projector.book.routes.values()].map((entry) => {
      const indexes = [...entry.backends.values()].map(({ index }) => index);
      const ring = this.projector.ring(entry).slice();
      for (let slot = 0; slot < ring.length; slot++) {
        ring[slot] = indexes[(slot + this.shift) % indexes.length] ?? 0;
      }
      return [entry, ring];
    });
  }

  setRings(rings: readonly Ring[]): void {
    for (const [entry, ring] of rings) this.projector.setOwners(entry, ring);
  }

  /** As an agent's reader would: a full ring buffer would make decisions cheaper. */
  drainEvents(): void {
    this.events.drain();
  }

  close(): void {
    this.events.close();
    this.plane.close();
    unload({ pinPath: this.pinPath, force: true });
  }
}

export interface Dial {
  readonly server: ChildProcess;
  readonly cgroup: string;
  readonly address: string;
  readonly connects: number;
  /** Go round so many addresses. */
  readonly spread?: number;
}

export class Rig {
  private readonly undo = new Undo();
  private readonly pins = `/sys/fs/bpf/nity-bench-${process.pid}`;
  private readonly cgroups = join(cgroupRoot(), `nity-bench-${process.pid}`);

  /** Every child process ends when `signal` says so. */
  constructor(private readonly signal: AbortSignal) {}

  open(): void {
    mkdirSync(this.pins, { mode: 0o700 });
    this.undo.push(() => {
      rmdirSync(this.pins);
    });
    mkdirSync(this.cgroups);
    this.undo.push(() => removeCgroup(this.cgroups));
  }

  cgroup(name: string): string {
    const path = join(this.cgroups, name);
    mkdirSync(path);
    this.undo.push(() => removeCgroup(path));
    return path;
  }

  /** No heartbeat follows the first, so that nothing but the load runs: it lasts for the hour. */
  dataplane(
    name: string,
    count: number,
    slotsPerRoute = 64,
    latency: LatencySource = 'first-byte',
  ): Dataplane {
    const pinPath = join(this.pins, name);
    const cgroup = this.cgroup(name);
    const knobs = makeKnobs({ tau1Ms: 600_000, tau2Ms: 3_600_000 });
    const report = load({ pinPath, cgroup, knobs, latency });
    try {
      const dataplane = new Dataplane(pinPath, cgroup, report, count, slotsPerRoute);
      this.undo.push(() => {
        dataplane.close();
      });
      return dataplane;
    } catch (error) {
      unload({ pinPath, force: true });
      throw error;
    }
  }

  /** A listener in a network namespace of its own, which ends with it. */
  async server(
    kind: 'plain' | 'nat',
    binary = connectLoad,
    cgroup?: string,
  ): Promise<ChildProcess> {
    const rules = kind === 'nat' ? kernelNat : '';
    const script = 'ip link set lo up && { [ -z "$1" ] || nft "$1"; } && shift && exec "$@"';
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', script, 'sh', rules]
        // Every address of the namespace: all four backends, and nobody else's.
        .concat([binary, 'serve', '0.0.0.0', String(port)]),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.undo.push(() => end(child));
    const [said] = (await Promise.race([
      once(child.stdout, 'data', { signal: this.signal }),
      once(child, 'exit').then(() => ['']),
    ])) as [unknown];
    if (!String(said).includes('ready')) throw new Error(`the ${kind} server did not start`);
    // Its listener is made already; what it accepts from now on belongs to the cgroup.
    if (cgroup !== undefined) writeFileSync(join(cgroup, 'cgroup.procs'), String(child.pid));
    return child;
  }

  /** What a client prints that is in `cgroup` before it makes a socket, beside `server`. */
  async client(
    server: ChildProcess,
    cgroup: string,
    command: readonly (string | number)[],
  ): Promise<number> {
    const script = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"';
    const namespace = `--net=/proc/${server.pid ?? 0}/ns/net`;
    const { stdout } = await run(
      'sh',
      ['-c', script, 'sh', cgroup, 'nsenter', namespace, ...command.map(String)],
      { timeout: dialMsMax, killSignal: 'SIGKILL', signal: this.signal },
    );
    return Number(stdout);
  }

  /** Nanoseconds per connect. */
  dial({ server, cgroup, address, connects, spread = 1 }: Dial): Promise<number> {
    return this.client(server, cgroup, [connectLoad, 'dial', address, port, connects, spread]);
  }

  async close(): Promise<void> {
    await this.undo.run();
  }
}
