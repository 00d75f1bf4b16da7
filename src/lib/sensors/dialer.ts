// The agent's own connects to backends whose connects fail. They tell whether a backend
// is back before any client is sent to find out, and whether one client's trouble is
// the backend's. It dials endpoints, never service addresses, and sends no byte.
import { connect } from 'node:net';

import type { DialOutcome } from '../field/types.js';

/** Between two connects to one backend. */
const everyMs = 500;
/** A backend that has not answered a SYN by now is taken for closed. */
const timeoutMs = 1_000;
/** More than these are not dialled at a time: the rest wait for their turn. */
const mostAtOnce = 64;

interface Line {
  outcome: DialOutcome | null;
  nextAtMs: number;
  /** Ends the connect that is under way; null when none is. */
  cancel: (() => void) | null;
}

export class Dialer {
  private readonly lines = new Map<string, Line>();
  private underWay = 0;

  /** The backends ("ip:port") to dial from now on; what is known of others is forgotten. */
  dialNext(backends: ReadonlySet<string>, nowMs: number): void {
    for (const [backend, line] of this.lines) {
      if (backends.has(backend)) continue;
      line.cancel?.();
      this.lines.delete(backend);
    }
    for (const backend of backends) {
      const line = this.lines.get(backend) ?? { outcome: null, nextAtMs: nowMs, cancel: null };
      this.lines.set(backend, line);
      if (line.cancel !== null || nowMs < line.nextAtMs || this.underWay >= mostAtOnce) continue;
      line.nextAtMs = nowMs + everyMs;
      this.dial(backend, line);
    }
  }

  /** What the last connect to a backend met; null before the first has ended. */
  outcome(backend: string): DialOutcome | null {
    return this.lines.size === 0 ? null : (this.lines.get(backend)?.outcome ?? null);
  }

  close(): void {
    this.dialNext(new Set(), 0);
  }

  private dial(backend: string, line: Line): void {
    const colon = backend.lastIndexOf(':');
    const socket = connect({
      host: backend.slice(0, colon),
      port: Number(backend.slice(colon + 1)),
      autoSelectFamily: false,
    });
    const done = (outcome: DialOutcome | null) => {
      if (line.cancel === null) return;
      line.cancel = null;
      this.underWay--;
      clearTimeout(timer);
      socket.destroy();
      if (outcome !== null) line.outcome = outcome;
    };
    const timer = setTimeout(() => {
      done('closed');
    }, timeoutMs);
    timer.unref();
    socket.unref();
    this.underWay++;
    line.cancel = () => {
      done(null);
    };
    socket.once('connect', () => {
      done('open');
    });
    socket.on('error', () => {
      done('closed');
    });
  }
}
