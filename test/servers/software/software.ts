// What each kind of server software brings to the test of real servers.
import type { Daemons } from './daemon.js';

export interface Instance {
  /** What it says its name is. */
  readonly name: string;
  readonly port: number;
}

/** Connects of one kind, open loop. */
export interface Traffic {
  readonly what: string;
  readonly perSecond: number;
  /** Answers other than these are complaints; the instances' names where it is left out. */
  readonly expected?: readonly string[];
  readonly once: (vip: string) => Promise<string>;
}

export interface Software {
  readonly what: string;
  readonly instances: number;
  /** All of them listen when this returns. */
  readonly start: (daemons: Daemons, instances: readonly Instance[]) => Promise<void>;
  /** Connections that stay open and say nothing, as pools and subscribers do. */
  readonly idle?: {
    readonly count: number;
    readonly open: (vip: string) => Promise<{ close(): void }>;
  };
  readonly traffic: readonly Traffic[];
  /** The most that a share may be, in multiples of the fair one. */
  readonly most?: number;
}
