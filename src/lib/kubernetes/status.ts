// What the agent says of its cluster: whether it is in step with it, how late changes
// were, what is left for kube-proxy and which Services want more replicas.
import type { Hint } from './hints.js';
import type { LatencySummary } from './latencies.js';
import type { Skipped } from './service-routes.js';
import type { WatchStatus } from './watch.js';

/** Of one Service that has routes. */
export interface ServiceProgress {
  /** Age of its oldest change that is not in the kernel yet; null without one. */
  readonly pendingMs: number | null;
  /** How long its last change took, from its cause in the cluster; null if unknown. */
  readonly programmingMs: number | null;
}

export interface ClusterStatus {
  readonly schemaVersion: 1;
  /** The API server, as configured. */
  readonly server: string;
  readonly node: string;
  /** Every list was complete once, and what they said is programmed. */
  readonly synced: boolean;
  readonly watches: readonly WatchStatus[];
  readonly services: number;
  readonly slices: number;
  readonly routes: number;
  /** Age of the oldest change that was heard of and is not in the kernel; null without one. */
  readonly oldestUnappliedMs: number | null;
  /** From the endpoints' last-change-trigger-time to the kernel: Kubernetes' own SLI. */
  readonly programming: LatencySummary;
  /** From the event heard to the kernel. */
  readonly applying: LatencySummary;
  readonly skipped: readonly Skipped[];
  readonly hints: readonly Hint[];
  readonly events: { readonly written: number; readonly dropped: number };
  readonly requests: number;
  /** By Service, "namespace/name"; those of which there is anything to say. */
  readonly progress: Readonly<Record<string, ServiceProgress>>;
}
