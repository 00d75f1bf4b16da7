// Listens to the kernel's decisions: asks for some of them, at most so many a second, on a
// lease that it renews as long as it reads. Whoever is killed while listening leaves a
// lease that runs out by itself.
import { NotLoadedError, SchemaError, errnoOf } from '../errors.js';
import { Counter, FailsafeMode, None } from './abi.js';
import { CgroupNames } from './cgroup-names.js';
import { admissionModeName, type AdmissionModeName, type FailsafeModeName } from './control.js';
import { readCounters, type CounterName } from './counters.js';
import { ipv4ToText } from './ipv4.js';
import { BpfMap, RingBuffer } from './native.js';
import { lockAsListener, mapPin, openPlane } from './pins.js';
import { codecs, rangeOf, tableOf, type Plane } from './plane.js';
import { handleAt, routeIndexOf, type RouteHandle } from './route-handle.js';
import { StructArray, type Struct } from './struct.js';

export type OutcomeName = Extract<CounterName, `picked${string}` | `refused${string}`>;

const isOutcome = (name: string): name is OutcomeName => /^(picked|refused)/.test(name);
export const outcomeNames = (Object.keys(Counter) as (keyof typeof Counter)[]).filter(isOutcome);

/** What is asked for; a word that is missing is no condition. */
export interface Wanted {
  readonly route?: RouteHandle | undefined;
  /** An address in host order, and a port. */
  readonly backend?: { readonly address: number; readonly port: number } | undefined;
  readonly outcomes?: readonly OutcomeName[] | undefined;
  readonly pid?: number | undefined;
}

export interface Decision {
  readonly timeNs: bigint;
  /** The wall clock's, as far as it can be told from the monotonic one. */
  readonly atMs: number;
  readonly pid: number;
  readonly command: string;
  readonly cgroupId: bigint;
  /** Below the root of the hierarchy; null when it is gone or may not be looked up. */
  readonly cgroup: string | null;
  /** By name, or "#N" for a route that is gone by now. */
  readonly route: string;
  readonly vip: string;
  /** "#N" for one that a newer minor has and this build does not know. */
  readonly outcome: OutcomeName | `#${number}`;
  /** Counted from the route's first; null where no slot decided, or its range has moved. */
  readonly slot: number | null;
  readonly backend: string | null;
  readonly costNs: number;
  readonly failsafeMode: FailsafeModeName;
  readonly admissionMode: AdmissionModeName;
  readonly epoch: bigint;
  readonly turn: number;
  readonly socketCookie: bigint;
  readonly netnsCookie: bigint;
}

export interface Heard {
  readonly decisions: readonly Decision[];
  /** Decisions that were asked for and not told: over the budget, or because the ring was full. */
  readonly overBudget: number;
  readonly ringFull: number;
  /** So long nobody listened, because this process did not run: what happened then is not known. */
  readonly deafMs: number;
}

/** Twice what a machine under load may keep a process waiting, and short for one that is killed. */
const leaseNs = 3_000_000_000n;
const nsPerSecond = 1_000_000_000n;
const nsPerMs = 1_000_000n;
/** A burst of so many must fit into the ring, or they would be dropped unasked. */
export const budgetMost = 5000;

const failsafeModes = Object.keys(FailsafeMode) as FailsafeModeName[];

export class Listener {
  private readonly ring: RingBuffer;
  private readonly cgroups = new CgroupNames();
  private readonly sinceNs: bigint;
  private readonly mapId: number;
  private untilNs: bigint;
  private told: { readonly overBudget: bigint; readonly ringFull: bigint };

  private constructor(
    private readonly pinPath: string,
    private readonly plane: Plane,
    private readonly lock: { release(): void },
  ) {
    const events = plane.handle('events');
    this.mapId = events.info().id;
    this.ring = new RingBuffer(BpfMap.open(mapPin(pinPath, 'events')));
    // What a listener before this one left unread is not ours.
    this.ring.drain();
    this.told = this.untold();
    this.sinceNs = plane.nowNs();
    this.untilNs = this.sinceNs;
  }

  /** Begins to listen; the kernel tells what is wanted from here on. */
  static begin(pinPath: string, wanted: (plane: Plane) => Wanted, budget: number): Listener {
    const plane = openPlane(pinPath);
    try {
      const asked = wanted(plane);
      const lock = lockAsListener(pinPath);
      try {
        // The lease of one who was killed may still run: not on half of these words.
        plane.setWord('traceUntilNs', 0n);
        ask(plane, asked, budget);
        const listener = new Listener(pinPath, plane, lock);
        listener.renew();
        return listener;
      } catch (error) {
        lock.release();
        throw error;
      }
    } catch (error) {
      plane.close();
      throw error;
    }
  }

  /** One decision in so many of a route is told at most, by the agent's knob. */
  get sampleEvery(): number {
    return this.plane.fieldState.get(0, 'sampleMask') + 1;
  }

  /** What was decided since the last call, and the lease anew. Call it some times a second. */
  hear(): Heard {
    const deafMs = this.renew();
    const nowNs = this.plane.nowNs();
    const nowMs = performance.timeOrigin + performance.now();
    const decisions = this.ring.drain().flatMap((bytes) => {
      if (bytes.length < codecs.event.size) throw olderPrograms();
      const event = codecs.event.decodeBytes(bytes);
      if (event.timeNs < this.sinceNs) return [];
      const atMs = nowMs - Number(nowNs - event.timeNs) / 1e6;
      return [this.decision(event, atMs)];
    });
    const before = this.told;
    this.told = this.untold();
    return {
      decisions,
      overBudget: Number(this.told.overBudget - before.overBudget),
      ringFull: Number(this.told.ringFull - before.ringFull),
      deafMs,
    };
  }

  /** Throws when the dataplane that this listens to is not the one that is pinned any more. */
  requireStillLoaded(): void {
    let id: number;
    try {
      const pinned = BpfMap.open(mapPin(this.pinPath, 'events'));
      ({ id } = pinned.info());
      pinned.close();
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') throw new NotLoadedError(this.pinPath, error);
      throw error;
    }
    if (id === this.mapId) return;
    throw new SchemaError(
      `The dataplane at ${this.pinPath} was unloaded and loaded anew.`,
      'Start the trace again to listen to the new one.',
    );
  }

  /** The node is then as it was before. */
  end(): void {
    this.plane.setWord('traceUntilNs', 0n);
    this.ring.drain();
    this.ring.close();
    this.lock.release();
    this.plane.close();
  }

  /** Returns for how long the lease had run out. */
  private renew(): number {
    const nowNs = this.plane.nowNs();
    const overNs = nowNs > this.untilNs ? nowNs - this.untilNs : 0n;
    this.untilNs = nowNs + leaseNs;
    this.plane.setWord('traceUntilNs', this.untilNs);
    return Number(overNs / nsPerMs);
  }

  private untold(): { overBudget: bigint; ringFull: bigint } {
    const { notedEventOverBudget, notedEventLost } = readCounters(this.plane);
    return { overBudget: notedEventOverBudget, ringFull: notedEventLost };
  }

  private decision(event: Struct<'event'>, atMs: number): Decision {
    const { route, backend, vip, vipPort, address, port } = event;
    const outcome = outcomeNames.find((name) => Counter[name] === event.outcome);
    const name = this.routeName(route as RouteHandle);
    return {
      timeNs: event.timeNs,
      atMs,
      pid: event.pid,
      command: event.command,
      cgroupId: event.cgroupId,
      cgroup: this.cgroups.of(event.cgroupId, atMs),
      route: name,
      vip: `${ipv4ToText(vip)}:${vipPort}`,
      outcome: outcome ?? `#${event.outcome}`,
      slot: this.slotOf(event),
      backend: backend === None.none ? null : `${ipv4ToText(address)}:${port}`,
      costNs: event.costNs,
      failsafeMode:
        failsafeModes.find((mode) => FailsafeMode[mode] === event.failsafeMode) ?? 'normal',
      admissionMode: admissionModeName(event.admissionMode),
      epoch: event.epoch,
      turn: event.turn,
      socketCookie: event.socketCookie,
      netnsCookie: event.netnsCookie,
    };
  }

  private routeName(handle: RouteHandle): string {
    const index = routeIndexOf(handle);
    const isIts = handleAt(this.plane, index) === handle;
    const name = isIts ? this.plane.routeNames.get(index, 'name') : '';
    return name === '' ? `#${index}` : name;
  }

  private slotOf({ route, outcome, slot, epoch }: Struct<'event'>): number | null {
    const index = routeIndexOf(route as RouteHandle);
    if (handleAt(this.plane, index) !== route) return null;
    const { slotRange, fallbackRange } = this.plane.rtControl.read(index);
    let range: bigint | undefined;
    if (outcome === Counter.pickedFallback) range = fallbackRange;
    else if (outcome === Counter.pickedGear || outcome === Counter.pickedTwin) {
      range = slotRange[tableOf(epoch)];
    }
    if (range === undefined) return null;
    const { base, size } = rangeOf(range);
    return slot >= base && slot < base + size ? slot - base : null;
  }
}

/** Going back to an older build leaves the newer schema's maps, and programs that ask no listener. */
function olderPrograms(): SchemaError {
  return new SchemaError(
    'The programs that run are of an older nity, which says of a decision not who asked for it.',
    'Upgrade them in place with `nity load`: no connect is lost.',
  );
}

function ask(plane: Plane, { route, backend, outcomes, pid }: Wanted, budget: number): void {
  const tokenNs = nsPerSecond / BigInt(budget);
  const bits = (outcomes ?? []).reduce((sum, name) => sum | (1n << BigInt(Counter[name])), 0n);
  new StructArray(codecs.trace, plane.handle('trace').mmap(), 1).write(0, {
    tokenNs,
    // A second's worth may come at once.
    burstNs: tokenNs * BigInt(budget),
    outcomes: bits,
    route: route ?? None.none,
    pid: pid ?? 0,
    address: backend?.address ?? 0,
    port: backend?.port ?? 0,
    bucketNs: 0n,
  });
}
