// What `kubectl apply -k` would hand to the API server: valid by Kubernetes' own schemas, and no
// more privilege than the agent needs.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';

import { neededPermissions } from '../../src/lib/doctor/cluster.js';
import { build, root, type KubernetesObject } from './kustomize.js';
import { packageVersion, problems } from './schemas.js';

interface Container {
  readonly image: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: Record<string, unknown>;
  readonly resources: { readonly requests?: Record<string, string> };
}
interface DaemonSet {
  readonly spec: {
    readonly updateStrategy: unknown;
    readonly template: {
      readonly spec: Record<string, unknown> & {
        readonly containers: readonly [Container & Record<string, unknown>];
        readonly initContainers?: readonly Container[];
      };
    };
  };
}

const overlays = readdirSync(join(root, 'overlays'));
const components = readdirSync(join(root, 'components'));

function only(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
  const [found, ...more] = objects.filter((object) => object.kind === kind);
  if (found === undefined || more.length > 0) throw new Error(`there is not one ${kind}`);
  return found;
}

function daemonSet(objects: readonly KubernetesObject[]): DaemonSet {
  return only(objects, 'DaemonSet') as unknown as DaemonSet;
}

function podOf(objects: readonly KubernetesObject[]) {
  return daemonSet(objects).spec.template.spec;
}

const base = build(join(root, 'base'));

describe('the manifests are valid', () => {
  it.each(overlays)('overlay %s', async (name) => {
    expect(await problems(build(join(root, 'overlays', name)))).toEqual([]);
  });

  it.each(components)('component %s on the base', async (name) => {
    const objects = build(join(root, 'base'), [join(root, 'components', name)]);
    expect(objects).not.toEqual(base);
    expect(await problems(objects)).toEqual([]);
  });

  it('and a wrong one is not: a field misspelt, a field missing, a value of another type', async () => {
    const wrong = structuredClone(base);
    const [container] = podOf(wrong).containers;
    Object.assign(container, { livenesProbe: {} });
    expect((await problems(wrong)).join()).toContain('livenesProbe');

    const lacking = structuredClone(base);
    Reflect.deleteProperty(daemonSet(lacking).spec, 'selector');
    expect((await problems(lacking)).join()).toMatch(/required property '?selector/);

    const odd = structuredClone(base);
    Object.assign(podOf(odd), { hostNetwork: 'yes' });
    expect((await problems(odd)).join()).toContain('hostNetwork must be boolean');
  });
});

function hasKubectl(): boolean {
  try {
    execFileSync('kubectl', ['kustomize', '--help'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// Where it is, the small kustomize of these tests is held to the real one.
if (hasKubectl()) {
  describe('kustomize makes the same', () => {
    it.each(overlays)('of overlay %s', (name) => {
      const directory = join(root, 'overlays', name);
      const text = execFileSync('kubectl', ['kustomize', directory], { encoding: 'utf8' });
      const theirs = parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
      const key = ({ kind, metadata }: KubernetesObject) => `${kind}/${metadata.name}`;
      const sorted = (objects: KubernetesObject[]) =>
        objects.toSorted((a, b) => key(a).localeCompare(key(b)));
      expect(sorted(build(directory))).toEqual(sorted(theirs));
    });
  });
}

describe('the agent’s pod', () => {
  const pod = podOf(base);
  const [agent] = pod.containers;

  it('may list and watch Services and slices, get nodes, create Events, and nothing else', () => {
    expect(only(base, 'ClusterRole')['rules']).toEqual([
      { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
      {
        apiGroups: ['discovery.k8s.io'],
        resources: ['endpointslices'],
        verbs: ['list', 'watch'],
      },
      { apiGroups: [''], resources: ['nodes'], verbs: ['get'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create'] },
    ]);
    expect(base.map(({ kind }) => kind)).not.toContain('Role');
  });

  it('may do all that the doctor finds it needs, and only that', () => {
    const rules = only(base, 'ClusterRole')['rules'] as {
      readonly apiGroups: readonly string[];
      readonly resources: readonly string[];
      readonly verbs: readonly string[];
    }[];
    const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb }))),
      ),
    );
    expect(granted).toEqual(neededPermissions);
  });

  it('has three capabilities, no way to more, and nowhere to write but its volumes', () => {
    expect(agent.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsUser: 0,
      capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON'] },
    });
    expect(pod['securityContext']).toEqual({ seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod['hostPID']).toBeUndefined();
    expect(pod['hostIPC']).toBeUndefined();
  });

  it('is kept on every node, and taken from a tenth of them at a time', () => {
    expect(pod).toMatchObject({
      hostNetwork: true,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    });
    expect(daemonSet(base).spec.updateStrategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: '10%' },
    });
    for (const { resources } of [...pod.containers, ...(pod.initContainers ?? [])]) {
      expect(Object.keys(resources.requests ?? {})).toEqual(['cpu', 'memory']);
    }
  });

  it('leaves a node that is labelled nity.dev/agent=off', () => {
    expect(pod['affinity']).toEqual({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'nity.dev/agent', operator: 'NotIn', values: ['off'] }] },
          ],
        },
      },
    });
  });

  it('is probed where it answers, on the loopback only', () => {
    const address = agent.env?.find(({ name }) => name === 'NITY_HEALTH_ADDR')?.value;
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { host, port } = (agent[probe] as { httpGet: { host: string; port: number } }).httpGet;
      expect(`${host}:${port}`).toBe(address);
      expect(host).toBe('127.0.0.1');
    }
  });

  it('runs the image of this version, from no registry in particular', () => {
    expect([...pod.containers, ...(pod.initContainers ?? [])].map(({ image }) => image)).toEqual([
      `nity:${packageVersion()}`,
      `nity:${packageVersion()}`,
    ]);
  });

  it('sets no variable that run-agent does not take', () => {
    const manifest = JSON.parse(readFileSync(join(root, '../../oclif.manifest.json'), 'utf8')) as {
      commands: Record<string, { flags: Record<string, { env?: string }> }>;
    };
    const known = Object.values(manifest.commands['run-agent']?.flags ?? {}).map(({ env }) => env);
    const observed = podOf(build(join(root, 'overlays/observed'))).containers[0];
    const ours = (observed.env ?? [])
      .map(({ name }) => name)
      .filter((name) => name.startsWith('NITY_'));
    expect(ours).toEqual(['NITY_HEALTH_ADDR', 'NITY_METRICS_ADDR']);
    expect(known).toEqual(expect.arrayContaining(ours));
  });

  it('has no privileged step where the node needs none', () => {
    const objects = build(join(root, 'base'), [join(root, 'components/without-privileged-init')]);
    expect(podOf(objects).initContainers).toBeUndefined();
    expect(JSON.stringify(podOf(objects))).not.toContain('privileged');
  });
});
