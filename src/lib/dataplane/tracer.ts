// Asks the kernel for its decisions and names what they name. The asking is a lease that the
// kernel itself lets lapse, so that nothing stays on when a tracer is killed; and it is
// rationed there, so that a busy node pays for no more decisions than were asked for.
import { setTimeout as sleep } from 'node:timers/promises';

import { KernelError, UnsafeError } from '../errors.js';
import { AdmissionMode, FailsafeMode, Limit, None, Schema } from './abi.js';
import { counterNames, readCounters, type CounterName } from './counters.js';
import { ipv4ToText } from './ipv4.js';
import { RingBuffer, type BpfMap } from './native.js';
import { codecs, describeSchema, type Plane } from './plane.js';

type NameOf<Enum> = Exclude<keyof Enum, symbol | number>;

/** One connect() as the kernel decided it. */
export interface Decision {
  /** CLOCK_MONOTONIC. */
  readonly timeNs: bigint;
  readonly pid: number;
  /** As the kernel has it: at most 15 bytes, and not always text. */
  readonly command: string;
  /** Identity of the process's cgroup v2, as stat(2) numbers it. */
  readonly cgroup: bigint;
  readonly route: string;
  /** What was dialled, "ip:port". */
  readonly address: string;
  /** Null where no slot was asked: an affinity, a refusal. */
  readonly slot: number | null;
  /** "ip:port"; null when the connect was refused. */
  readonly backend: string | null;
  /** The counter that it was counted by: pickedTwin, refusedHard. */
  readonly outcome: CounterName;
  /** From its first reading of the clock to this record's end. */
  readonly costNs: number;
  readonly epoch: bigint;
  readonly failsafeMode: NameOf<typeof FailsafeMode>;
  readonly admissionMode: NameOf<typeof AdmissionMode>;
}

/** Decisions that were asked for and are not told. */
export interface Untold {
  /** Beyond the ration. */
  readonly rationed: number;
  /** The ring was full: its reader was too slow. */
  readonly lost: number;
}

export interface TracerOptions {
  /** One route's index in the maps, or all. */
  readonly route: number | null;
  readonly mostPerSecond: number;
}

const windowNs = 2 ** Limit.traceWindowShift;
/** Two seconds: longer than any pause of a healthy reader. */
const leaseWindows = 15;
const leastMinor = 2;

function nameOf<Enum extends object>(of: Enum, code: number): NameOf<Enum> {
  const found = Object.entries(of).find(([, value]) => value === code);
  return (found?.[0] ?? Object.keys(of)[0]) as NameOf<Enum>;
}

export class Tracer {
  private readonly ring: RingBuffer;
  private readonly before: Untold;

  private constructor(
    private readonly plane: Plane,
    { route, mostPerSecond }: TracerOptions,
  ) {
    // A plane of pins: only the kernel has a ring.
    this.ring = new RingBuffer(plane.handle('events') as BpfMap);
    // What an earlier tracer left unread is not of this one.
    this.ring.drain();
    this.before = this.total();
    plane.fieldState.write(0, {
      traceRoute: route ?? None.none,
      traceRation: Math.max(1, Math.ceil((mostPerSecond * windowNs) / 1e9)),
    });
    this.renew();
  }

  /** Waits for a lease that somebody was killed with; refuses while somebody renews it. */
  static async begin(plane: Plane, options: TracerOptions): Promise<Tracer> {
    const schema = plane.fieldState.get(0, 'schema');
    if ((schema & 0xffff) < leastMinor) {
      throw new KernelError(
        `The dataplane that is loaded has schema ${describeSchema(schema)}, and decisions are traced from ${Schema.major}.${leastMinor} on.`,
        'Upgrade it in place with `nity load`.',
      );
    }
    for (let waited = 0; waited < 2 && leased(plane); waited++) {
      await sleep((leaseWindows * windowNs) / 1e6 + 100);
    }
    if (leased(plane)) {
      throw new UnsafeError(
        'Somebody else traces this node, and its decisions can be told to one only.',
        'End the other `nity trace` first.',
      );
    }
    return new Tracer(plane, options);
  }

  /** Must be called several times a second. */
  renew(): void {
    this.plane.fieldState.write(0, { traceUntil: windowNow(this.plane) + leaseWindows });
  }

  /** Those decided since the last time. */
  take(): Decision[] {
    return this.ring.drain().map((bytes) => this.read(bytes));
  }

  /** Since it began. */
  untold(): Untold {
    const { rationed, lost } = this.total();
    return { rationed: rationed - this.before.rationed, lost: lost - this.before.lost };
  }

  /** The kernel stops at once. */
  close(): void {
    this.plane.fieldState.write(0, { traceUntil: 0 });
    this.ring.close();
  }

  private total(): Untold {
    const { notedEventRationed, notedEventLost } = readCounters(this.plane);
    return { rationed: Number(notedEventRationed), lost: Number(notedEventLost) };
  }

  private read(bytes: Uint8Array): Decision {
    const event = codecs.event.decodeBytes(bytes);
    const outcome = counterNames[event.outcome] ?? 'refusedIncomplete';
    const picked = outcome.startsWith('picked');
    return {
      timeNs: event.timeNs,
      pid: event.pid,
      command: event.command,
      cgroup: event.cgroup,
      route: this.plane.routeNames.get(event.route, 'name') || `#${event.route}`,
      address: `${ipv4ToText(event.vip)}:${event.vipPort}`,
      slot: outcome === 'pickedGear' || outcome === 'pickedTwin' ? event.slot : null,
      backend: picked ? this.backendAt(event.backend) : null,
      outcome,
      costNs: event.costNs,
      epoch: event.epoch,
      failsafeMode: nameOf(FailsafeMode, event.failsafeMode),
      admissionMode: nameOf(AdmissionMode, event.admissionMode),
    };
  }

  private backendAt(index: number): string {
    const { backends } = this.plane;
    const port = backends.get(index, 'port');
    // It may have been given back since.
    if (port === 0) return `#${index}`;
    return `${ipv4ToText(backends.get(index, 'address'))}:${port}`;
  }
}

function windowNow(plane: Plane): number {
  return Number(plane.nowNs() >> BigInt(Limit.traceWindowShift));
}

function leased(plane: Plane): boolean {
  return plane.fieldState.get(0, 'traceUntil') > windowNow(plane);
}
