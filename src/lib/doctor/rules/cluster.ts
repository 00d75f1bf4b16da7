// Can the agent learn what to serve, does it, and who serves the rest?
import type { ClusterStatus } from '../../kubernetes/status.js';
import { count, fail, ok, some, warn, type Rule } from '../check.js';
import type { Observed } from '../observed.js';
import { planeOf } from './agent.js';

/** Beyond the first, times that Nity shows are off; beyond the second, tokens are refused. */
const skewWarnMs = 5_000;
const skewFailMs = 60_000;

/** As the alert NityClusterBehind. */
const pendingWarnMs = 10_000;

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** What the agent follows; null without one, or without a cluster. */
function followed(observed: Observed): ClusterStatus | null {
  return planeOf(observed)?.agent.cluster ?? null;
}

export const clusterRules: readonly Rule[] = [
  {
    id: 'NITY100',
    group: 'cluster',
    name: 'API server',
    expected: 'answers',
    hint: 'Look at the network between the node and it, or at the token; the agent holds the last good routes meanwhile.',
    about:
      'While it does not answer the agent serves what it last knew: Services and endpoints that change are missed.',
    look: ({ cluster }) => {
      if (cluster === null) return null;
      const { api, server } = cluster;
      if (api.kind === 'missing') return fail(`${server}: ${api.why}`);
      return ok(`${server}, ${api.value.version}, in ${Math.round(api.value.tookMs)} ms`);
    },
  },
  {
    id: 'NITY101',
    group: 'cluster',
    name: 'permissions',
    expected: 'list and watch services and endpointslices, get nodes, create events',
    hint: 'Apply the ClusterRole nity-agent and its binding of deploy/kustomize/base/rbac.yaml.',
    about:
      'Without services and endpointslices nothing is served; without nodes topology hints and NodePorts are not, and without events nobody is told what was ignored.',
    look: ({ cluster }) => {
      if (cluster === null || cluster.api.kind === 'missing') return null;
      if (cluster.permissions.kind === 'missing') return warn(cluster.permissions.why);
      const denied = cluster.permissions.value.filter(({ allowed }) => !allowed);
      if (denied.length === 0) return ok('all granted');
      const told = some(
        denied.map(({ permission: { verb, resource } }) => `${verb} ${resource}`),
        6,
      );
      const needed = denied.some(({ permission: { verb } }) => verb === 'list' || verb === 'watch');
      return needed ? fail(`it may not ${told}`) : warn(`it may not ${told}`);
    },
  },
  {
    id: 'NITY102',
    group: 'cluster',
    name: 'clock',
    expected: `within ${skewWarnMs / 1000} s of the API server’s`,
    hint: 'Have the node’s time set by NTP (`timedatectl`).',
    about:
      'Programming latency is told from timestamps of the cluster, and a clock far off has tokens and certificates refused.',
    look: ({ cluster }) => {
      if (cluster === null || cluster.aheadMs === null) return null;
      const off = Math.abs(cluster.aheadMs);
      if (off === 0) return ok('within a second');
      const seen = `${seconds(off)} ${cluster.aheadMs > 0 ? 'ahead' : 'behind'}`;
      if (off > skewFailMs) return fail(seen);
      return off > skewWarnMs ? warn(seen) : ok(seen);
    },
  },
  {
    id: 'NITY103',
    group: 'cluster',
    name: 'names of ports',
    expected: 'each port of a Service is in a slice under its name',
    hint: 'Give the slice’s port the name that the Service’s has; `kubectl get endpointslices -o yaml` shows them.',
    about:
      'Ports are matched by name and protocol: one without its name in any slice has no endpoints, for kube-proxy as for Nity.',
    look: ({ cluster }) => {
      if (cluster === null || cluster.unmatchedPorts.kind === 'missing') return null;
      const { ports, ofFirst } = cluster.unmatchedPorts.value;
      const part = ofFirst === null ? '' : `, of the first ${ofFirst} Services and slices`;
      return ports.length === 0 ? ok(`all found${part}`) : warn(`${some(ports)}${part}`);
    },
  },
  {
    id: 'NITY104',
    group: 'cluster',
    name: 'left for kube-proxy',
    expected: 'somebody serves what Nity skips',
    hint: 'Run kube-proxy, or what stands for it in this cluster, on every node; `nity inspect routes --skipped` lists them all.',
    about:
      'What Nity cannot serve it leaves as it is, so that something else must serve it: UDP, SCTP and IPv6, and ports with rules that it does not know.',
    look: (observed) => {
      const status = followed(observed);
      if (status === null) return null;
      const { skipped } = status;
      if (skipped.length === 0) return ok('nothing skipped');
      const told = some(
        skipped.map(
          ({ service, port, reason, detail }) => `${service}:${port} (${reason}: ${detail})`,
        ),
      );
      const seen = `${count(skipped.length, 'port')}: ${told}`;
      if (observed.kubeProxyMode !== null) return ok(seen);
      return warn(`${seen}, and no kube-proxy answers`);
    },
  },
  {
    id: 'NITY105',
    group: 'cluster',
    name: 'kube-proxy',
    expected: 'answers on this node, on 127.0.0.1:10249',
    hint: 'If another program stands for it here, suppress this check; else look at its pod.',
    about:
      'It serves what Nity does not, and everything where Nity is unloaded; Nity comes first, as its programs see a connect before any packet is made.',
    look: (observed) => {
      const { cluster, kubeProxyMode } = observed;
      if (cluster === null && followed(observed) === null) return null;
      return kubeProxyMode === null ? warn('nobody answers') : ok(`mode ${kubeProxyMode}`);
    },
  },
  {
    id: 'NITY106',
    group: 'cluster',
    name: 'what the agent hears',
    expected: 'every list and watch of the agent goes on, and what it heard is served',
    hint: 'See NITY100 and NITY101, with --kubeconfig if they are left out; the agent tries again by itself.',
    about:
      'The agent serves what it last heard: while a watch is down, Services and endpoints that change are missed. Before its first lists are complete it programs nothing.',
    look: (observed) => {
      const status = followed(observed);
      if (status === null) return null;
      const troubles = status.watches.flatMap(({ resource, problem, heardAgoMs }) => {
        if (problem === null) return [];
        const heard = heardAgoMs === null ? 'never heard' : `heard ${seconds(heardAgoMs)} ago`;
        return [`${resource}: ${problem} (${heard})`];
      });
      if (troubles.length > 0) return fail(some(troubles));
      if (!status.synced) return fail('not all was heard and served yet');
      const pendingMs = status.oldestUnappliedMs ?? 0;
      if (pendingMs > pendingWarnMs) {
        return warn(
          `a change waits for ${seconds(pendingMs)}`,
          'See whether an operator holds the field (NITY078) or a table is full (NITY079).',
        );
      }
      return ok(`${count(status.services, 'Service')} at ${status.server}`);
    },
  },
];
