// The agent's flight recorder: takes each tick in no time, writes it after the tick,
// and never throws into it. On disk without end, or the last minutes in memory that
// are written out when something happens.
import { messageOf } from '../errors.js';
import { aboutHere } from './about.js';
import { dumpDirectory, writeDump, writeDumpNow } from './dumps.js';
import type { TraceAbout } from './records.js';
import { Ring, type RingLimits } from './ring.js';
import { Segments, type SegmentLimits } from './segments.js';
import { TraceWriter, type RecordableTick } from './writer.js';

export type RecordOptions =
  | { readonly kind: 'off' }
  | ({ readonly kind: 'ring' } & Partial<RingLimits>)
  | ({ readonly kind: 'disk'; readonly directory: string } & Partial<SegmentLimits>);

export interface RecorderLog {
  info(message: string): void;
  warn(message: string): void;
}

export interface FlightOptions {
  readonly record: RecordOptions;
  readonly log: RecorderLog;
  readonly phase?: number;
  readonly about?: TraceAbout;
  /** Where the ring is written to, how many of its files stay, and how often at most. */
  readonly dumps?: string;
  readonly dumpsMost?: number;
  readonly dumpEveryMs?: number;
  /** A field of more backends is not kept in memory. */
  readonly backendsMost?: number;
}

export type KeptTicks =
  | { readonly kind: 'bytes'; readonly parts: readonly Buffer[] }
  | { readonly kind: 'directory'; readonly directory: string };

const defaultRing: RingLimits = { bytesMost: 16 << 20, ageMostMs: 300_000 };
const defaultSegments = { bytesMost: 256 << 20, ageMostMs: 86_400_000 };
const dumpsMostByDefault = 4;
const dumpEveryMsByDefault = 60_000;
/** Ticks that wait to be written; an event loop that does not come to it has other troubles. */
const pendingMost = 64;
/** Past this one snapshot fills the ring, and packing the law's memory takes longer than a tick may. */
const backendsMostByDefault = 10_000;

export class FlightRecorder {
  private readonly pending: RecordableTick[] = [];
  private readonly writer: TraceWriter | undefined;
  private readonly ring: Ring | undefined;
  private readonly segments: Segments | undefined;
  private readonly log: RecorderLog;
  private readonly dumps: string;
  private scheduled = false;
  private complained = false;
  private saidTooLarge = false;
  private nextDumpMs = -Infinity;
  /** A change that is written out at the end of the minute. */
  private dumpLater: { readonly timer: NodeJS.Timeout; readonly write: () => void } | undefined;
  private dumping: Promise<void> = Promise.resolve();

  constructor(private readonly options: FlightOptions) {
    const { record, log, phase = 0, dumps = dumpDirectory() } = options;
    this.log = log;
    this.dumps = dumps;
    if (record.kind === 'off') return;
    this.writer = new TraceWriter(options.about ?? aboutHere(phase));
    if (record.kind === 'ring') this.ring = new Ring(this.writer, { ...defaultRing, ...record });
    else {
      const limits = { ...defaultSegments, ...record };
      this.segments = new Segments(record.directory, this.writer, limits, log);
    }
  }

  /** Takes the tick; what it costs comes after it. */
  see(tick: RecordableTick): void {
    if (this.writer === undefined || this.isTooLarge(tick)) return;
    const oldest = this.pending.length >= pendingMost ? this.pending.shift()?.sequence : undefined;
    if (oldest !== undefined) {
      this.writer.lose({ from: oldest, to: oldest, ticks: 1, why: 'the agent was too busy' });
    }
    this.pending.push(tick);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.drain();
    });
  }

  /** Who names a directory has asked for every tick; the ring only keeps what costs little. */
  private isTooLarge({ sequence, inputs }: RecordableTick): boolean {
    if (this.ring === undefined) return false;
    const most = this.options.backendsMost ?? backendsMostByDefault;
    const backends = inputs.routes.reduce((sum, route) => sum + route.backends.length, 0);
    if (backends <= most) return false;
    const why = `more than ${most} backends`;
    this.writer?.lose({ from: sequence, to: sequence, ticks: 1, why });
    if (!this.saidTooLarge) {
      this.log.warn(`ticks over ${why} are not kept in memory; --record writes them to a disk`);
    }
    this.saidTooLarge = true;
    return true;
  }

  /** Writes out what there is, as an operator asks for it. */
  async dump(why: string): Promise<string | undefined> {
    this.drain();
    if (this.segments !== undefined) {
      await this.segments.settled();
      this.log.info(`the flight recorder writes to ${this.segments.directory}`);
      return this.segments.directory;
    }
    const parts = this.ring?.contents();
    if (parts === undefined) {
      this.log.warn('the flight recorder has nothing: it is off, or there was no tick yet');
      return undefined;
    }
    try {
      const most = this.options.dumpsMost ?? dumpsMostByDefault;
      const path = await writeDump(this.dumps, most, why, parts);
      this.log.info(`the last minutes were written to ${path}`);
      return path;
    } catch (error) {
      this.log.warn(`the last minutes could not be written to ${this.dumps}: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** What is kept now: the ring's bytes, or where the segments are; undefined: nothing is. */
  async kept(): Promise<KeptTicks | undefined> {
    this.drain();
    if (this.segments !== undefined) {
      await this.segments.settled();
      return { kind: 'directory', directory: this.segments.directory };
    }
    const parts = this.ring?.contents();
    return parts === undefined ? undefined : { kind: 'bytes', parts };
  }

  /** The process dies: everything is written before this returns. */
  crashed(): void {
    try {
      this.drain();
      this.segments?.flushNow();
      const parts = this.ring?.contents();
      if (parts === undefined) return;
      const most = this.options.dumpsMost ?? dumpsMostByDefault;
      const path = writeDumpNow(this.dumps, most, 'crash', parts);
      this.log.warn(`the last minutes were written to ${path}`);
    } catch (error) {
      this.log.warn(`the flight recorder could not write: ${messageOf(error)}`);
    }
  }

  /** SIGUSR2 writes out; a crash does so too, and dies as it would have. Returns the undoing. */
  attach(): () => void {
    const onSignal = () => {
      void this.dump('asked');
    };
    const onCrash = () => {
      this.crashed();
    };
    process.on('SIGUSR2', onSignal).on('uncaughtExceptionMonitor', onCrash);
    return () => {
      process.off('SIGUSR2', onSignal).off('uncaughtExceptionMonitor', onCrash);
    };
  }

  async close(): Promise<void> {
    this.drain();
    // Nothing more comes: what waits for the end of the minute has waited long enough.
    clearTimeout(this.dumpLater?.timer);
    this.dumpLater?.write();
    await this.dumping;
    await this.segments?.close();
  }

  private drain(): void {
    for (let tick = this.pending.shift(); tick !== undefined; tick = this.pending.shift()) {
      try {
        this.ring?.take(tick, Date.now());
        this.segments?.take(tick, Date.now());
        this.noticeChange(tick);
      } catch (error) {
        const { sequence } = tick;
        this.writer?.lose({ from: sequence, to: sequence, ticks: 1, why: messageOf(error) });
        if (!this.complained) this.log.warn(`a tick could not be recorded: ${messageOf(error)}`);
        this.complained = true;
      }
    }
  }

  /** A change is written out at once; those of the next minute together at its end. */
  private noticeChange(tick: RecordableTick): void {
    if (this.ring === undefined || this.dumpLater !== undefined) return;
    const why = changeOf(tick);
    if (why === undefined) return;
    const everyMs = this.options.dumpEveryMs ?? dumpEveryMsByDefault;
    const write = () => {
      this.dumpLater = undefined;
      this.nextDumpMs = performance.now() + everyMs;
      this.dumping = this.dumping.then(async () => {
        await this.dump(why);
      });
    };
    const waitMs = this.nextDumpMs - performance.now();
    if (waitMs <= 0) write();
    else this.dumpLater = { timer: setTimeout(write, waitMs).unref(), write };
  }
}

/** What is worth keeping the minutes before it. */
function changeOf({ sequence, inputs, knobs, reasons }: RecordableTick): string | undefined {
  // So long without a heartbeat, the kernel was in HOLD or FALLBACK.
  if (sequence > 1 && inputs.dtMs >= knobs.tau1Ms) return 'failsafe';
  const kinds = new Set(reasons.map(({ change }) => change.of));
  if (kinds.has('hold')) return 'hold';
  return kinds.has('admission') || kinds.has('override') ? 'admission' : undefined;
}
