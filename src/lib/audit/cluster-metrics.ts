// What Prometheus is told of the cluster: read off the source's status when somebody asks.
import type { Registry } from 'prom-client';

import type { ClusterStatus } from '../kubernetes/status.js';
import { catalogue, namedRoutes, skipReasons, watchStates } from './catalogue.js';
import type { Metrics } from './registry.js';

/** Of an agent without a cluster nothing is told: a zero would be a statement. */
export function leaveOutCluster(registry: Registry): void {
  for (const { name } of Object.values(catalogue)) {
    if (name.startsWith('nity_cluster_')) registry.removeSingleMetric(name);
  }
}

export function readCluster(metrics: Metrics, status: ClusterStatus): void {
  metrics.clusterSynced.set(status.synced ? 1 : 0);
  metrics.clusterUnapplied.set((status.oldestUnappliedMs ?? 0) / 1000);
  metrics.clusterServices.set(status.services);
  for (const state of watchStates) {
    const such = status.watches.filter((watch) => watch.state === state);
    metrics.clusterWatches.set({ state }, such.length);
  }
  for (const reason of skipReasons) {
    const such = status.skipped.filter((one) => one.reason === reason);
    metrics.clusterSkipped.set({ reason }, such.length);
  }
  // Cumulative already: each look replaces what the last one said.
  metrics.clusterRequests.reset();
  metrics.clusterRequests.inc(status.requests);
  metrics.clusterEvents.reset();
  for (const outcome of ['written', 'dropped'] as const) {
    metrics.clusterEvents.inc({ outcome }, status.events[outcome]);
  }
  metrics.clusterHints.reset();
  // Routes of one Service may suffer from the same: that is one series.
  const series = new Map(status.hints.map((hint) => [`${hint.service} ${hint.kind}`, hint]));
  for (const { service, kind } of [...series.values()].slice(0, namedRoutes)) {
    metrics.clusterHints.set({ service, why: kind }, 1);
  }
  const { programming, applying } = status;
  metrics.clusterProgramming.become(programming.counts, programming.sumMs / 1000);
  metrics.clusterApplying.become(applying.counts, applying.sumMs / 1000);
}
