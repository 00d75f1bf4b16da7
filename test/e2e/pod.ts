// A pod of the DaemonSet as a real container, without a cluster: reads the manifest as the
// kubelet does and runs its containers under runc, in a file system that scripts/image-rootfs.mjs
// assembled, with the manifest's capabilities, mounts and users and no others.
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

import { build, root } from '../deploy/kustomize.js';

const checkout = join(import.meta.dirname, '../..');
/** Of the Debian package golang-github-containers-common; runtimes have the like built in. */
const seccompFile = '/usr/share/containers/seccomp.json';

const probeSchema = z.object({
  httpGet: z.object({ host: z.string(), port: z.int(), path: z.string() }),
});

const containerSchema = z.object({
  name: z.string(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).default([]),
  env: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]),
  securityContext: z.object({
    privileged: z.boolean().default(false),
    allowPrivilegeEscalation: z.boolean().default(true),
    readOnlyRootFilesystem: z.boolean().default(false),
    capabilities: z
      .object({ drop: z.array(z.string()).default([]), add: z.array(z.string()).default([]) })
      .optional(),
  }),
  startupProbe: probeSchema.optional(),
  livenessProbe: probeSchema.optional(),
  readinessProbe: probeSchema.optional(),
  volumeMounts: z.array(
    z.object({
      name: z.string(),
      mountPath: z.string(),
      readOnly: z.boolean().default(false),
      mountPropagation: z.enum(['None', 'HostToContainer', 'Bidirectional']).default('None'),
    }),
  ),
});
export type Container = z.infer<typeof containerSchema>;

const podSchema = z.object({
  hostNetwork: z.boolean(),
  securityContext: z.object({ seccompProfile: z.object({ type: z.literal('RuntimeDefault') }) }),
  initContainers: z.tuple([containerSchema]),
  containers: z.tuple([containerSchema]),
  volumes: z.array(
    z.object({
      name: z.string(),
      hostPath: z.object({ path: z.string(), type: z.enum(['Directory', 'DirectoryOrCreate']) }),
    }),
  ),
});

const imageSchema = z.object({
  entrypoint: z.array(z.string()),
  cmd: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
});

/** The pod of the DaemonSet as an overlay, or the base, has it. */
export function readPod(directory = 'base'): z.infer<typeof podSchema> {
  const daemonSet = build(join(root, directory)).find(({ kind }) => kind === 'DaemonSet');
  const { template } = daemonSet?.['spec'] as { template: { spec: unknown } };
  return podSchema.parse(template.spec);
}

/** Why containers cannot be run here, or undefined. CI counts a skip as a failure. */
export function whyNoContainers(): string | undefined {
  const lacking = [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...['runc', 'debootstrap'].filter((name) => {
      try {
        execFileSync('which', [name], { stdio: 'ignore' });
        return false;
      } catch {
        return true;
      }
    }),
  ];
  try {
    accessSync(seccompFile);
  } catch {
    lacking.push(seccompFile);
  }
  if (lacking.length === 0) return undefined;
  const reason = `the container tests are skipped: this machine lacks ${lacking.join(', ')}`;
  console.warn(reason);
  return reason;
}

/** The image, unpacked once for all containers of a test. */
export class Image {
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-image-'));
  readonly rootfs = join(this.directory, 'rootfs');
  private readonly made = imageSchema.parse(
    JSON.parse(
      execFileSync(process.execPath, ['scripts/image-rootfs.mjs', this.rootfs], {
        cwd: checkout,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    ),
  );

  /** As the kubelet joins the image's and the container's. */
  argv({ command, args }: Container): string[] {
    const { entrypoint, cmd } = this.made;
    if (command !== undefined) return [...command, ...args];
    return [...entrypoint, ...(args.length > 0 ? args : cmd)];
  }

  get environment(): Readonly<Record<string, string>> {
    return this.made.environment;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface RunOptions {
  /**
   * What stands for a hostPath, by the volume's name. Of the others those that the kubelet would
   * create are new and the test's; the rest are the host's own.
   */
  readonly volumes?: Readonly<Record<string, string>>;
  /** Set beside the manifest's, and over it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bound read-only into the container. */
  readonly files?: Readonly<Record<string, string>>;
  /** Instead of what the image runs. */
  readonly argv?: readonly string[];
  /** Instead of the manifest's. */
  readonly capabilities?: readonly string[];
  /** Below a cgroup of the v2 hierarchy, which is mounted as on a node that has only that. */
  readonly below?: string;
  /** Runtimes whose profile does not know CAP_BPF refuse bpf(2) to all but CAP_SYS_ADMIN. */
  readonly seccompKnowsBpf?: boolean;
}

let containers = 0;
/** Far more than a pod that heeds its signals takes to end. */
const patienceMs = 40_000;

export class Running {
  private output = '';

  constructor(
    readonly id: string,
    readonly child: ChildProcess,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => (this.output += bytes.toString()));
    }
  }

  log(): string {
    return this.output;
  }

  /** Resolves with the exit code. */
  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await once(this.child, 'exit');
    }
    return this.child.exitCode;
  }

  /** As the kubelet does it: SIGTERM to the first process; `runc run` ends with it. */
  async stop(signal: 'TERM' | 'KILL' = 'TERM'): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    await promisify(execFile)('runc', ['kill', this.id, signal]).catch(() => undefined);
    // What never became a container, or does not heed the signal, keeps no test waiting for ever.
    const overdue = setTimeout(() => {
      this.child.kill('SIGKILL');
      void promisify(execFile)('runc', ['delete', '--force', this.id]).catch(() => undefined);
    }, patienceMs);
    try {
      return await this.ended();
    } finally {
      clearTimeout(overdue);
    }
  }

  /** What `kubectl exec` would print. */
  async exec(...argv: readonly string[]): Promise<string> {
    return (await promisify(execFile)('runc', ['exec', this.id, ...argv])).stdout;
  }
}

export function run(image: Image, container: Container, options: RunOptions = {}): Running {
  const id = `nity-test-${process.pid}-${containers++}`;
  const bundle = join(image.directory, id);
  mkdirSync(bundle);
  writeFileSync(
    join(bundle, 'config.json'),
    JSON.stringify(ociConfig(image, container, options, id)),
  );
  const runc = ['runc', 'run', '--bundle', bundle, id];
  const enter = ['sh', '-c', 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', 'sh'];
  const [command = '', ...args] =
    options.below === undefined ? runc : [...enter, options.below, ...runc];
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  return new Running(id, child);
}

/** All that the kernel knows, for a privileged container. */
function everyCapability(): string[] {
  return execFileSync('capsh', ['--print'], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => (line.startsWith('Bounding set =') ? line.slice(14).split(',') : []))
    .map((name) => name.toUpperCase());
}

function capabilitiesOf({ securityContext }: Container, options: RunOptions): readonly string[] {
  if (options.capabilities !== undefined) return options.capabilities;
  if (securityContext.privileged) return everyCapability();
  const { drop, add } = securityContext.capabilities ?? { drop: [], add: [] };
  // What a runtime grants by default is of no interest here: the manifest drops it all.
  if (!drop.includes('ALL')) throw new Error('the manifest must drop ALL capabilities');
  return add.map((name) => `CAP_${name}`);
}

function ociConfig(image: Image, container: Container, options: RunOptions, id: string): object {
  const { securityContext } = container;
  const { privileged } = securityContext;
  const capabilities = capabilitiesOf(container, options);
  const env: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ...image.environment,
    ...Object.fromEntries(container.env.map(({ name, value }) => [name, value ?? 'test-node'])),
    ...options.env,
  };
  const seccomp = { seccomp: seccompFor(capabilities, options.seccompKnowsBpf ?? true) };
  return {
    ociVersion: '1.0.2',
    hostname: id,
    root: { path: image.rootfs, readonly: securityContext.readOnlyRootFilesystem },
    process: {
      user: { uid: 0, gid: 0 },
      cwd: '/',
      args: options.argv ?? image.argv(container),
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: !privileged && !securityContext.allowPrivilegeEscalation,
    },
    mounts: [
      ...systemMounts(privileged),
      ...(options.below === undefined ? [] : [ownCgroups]),
      ...volumeMounts(image, container, options),
    ],
    linux: {
      // hostNetwork: no network namespace of its own, and so the host's UTS as well.
      namespaces: ['pid', 'ipc', 'mount', 'uts', 'cgroup'].map((type) => ({ type })),
      cgroupsPath: `/${id}`,
      // As containerd does: a mount can only reach the node from a root that is shared.
      rootfsPropagation: container.volumeMounts.some(
        ({ mountPropagation }) => mountPropagation === 'Bidirectional',
      )
        ? 'rshared'
        : 'rslave',
      ...(privileged ? {} : { ...hidden, ...seccomp }),
    },
  };
}

/** What containerd hides from a container that is not privileged. */
const hidden = {
  maskedPaths: ['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'sched_debug']
    .map((name) => `/proc/${name}`)
    .concat('/sys/firmware', '/proc/scsi'),
  readonlyPaths: ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`),
};

function systemMounts(privileged: boolean): object[] {
  const only = privileged ? 'rw' : 'ro';
  const quiet = ['nosuid', 'noexec', 'nodev'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: quiet },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, only] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...quiet, only] },
  ];
}

/** In the container's cgroup namespace: its root is the container's own cgroup. */
const ownCgroups = {
  destination: '/sys/fs/cgroup',
  type: 'cgroup2',
  source: 'cgroup2',
  options: ['nosuid', 'noexec', 'nodev', 'ro'],
};

const propagation = { None: 'rprivate', HostToContainer: 'rslave', Bidirectional: 'rshared' };

function volumeMounts(
  image: Image,
  { volumeMounts }: Container,
  { volumes = {}, files = {} }: RunOptions,
): object[] {
  const onHost = new Map(
    readPod().volumes.map(({ name, hostPath: { path, type } }) => {
      const created = join(image.directory, 'host', path);
      if (type === 'DirectoryOrCreate') mkdirSync(created, { recursive: true });
      return [name, type === 'DirectoryOrCreate' ? created : path];
    }),
  );
  return [
    ...volumeMounts.map(({ name, mountPath, readOnly, mountPropagation }) => ({
      destination: mountPath,
      type: 'bind',
      source: volumes[name] ?? onHost.get(name),
      options: ['rbind', readOnly ? 'ro' : 'rw', propagation[mountPropagation]],
    })),
    ...Object.entries(files).map(([destination, source]) => ({
      destination,
      type: 'bind',
      source,
      options: ['bind', 'ro'],
    })),
  ];
}

const conditionSchema = z.object({
  caps: z.array(z.string()).optional(),
  arches: z.array(z.string()).optional(),
  minKernel: z.string().optional(),
});
const seccompSchema = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: z.int().optional(),
  archMap: z.array(
    z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullable() }),
  ),
  syscalls: z.array(
    z.object({
      names: z.array(z.string()),
      action: z.string(),
      errnoRet: z.int().optional(),
      args: z.array(z.unknown()).nullable().default([]),
      includes: conditionSchema.default({}),
      excludes: conditionSchema.default({}),
    }),
  ),
});

/** A runtime's default profile, resolved for a set of capabilities as runtimes do it. */
function seccompFor(capabilities: readonly string[], knowsBpf: boolean): object {
  const { defaultAction, defaultErrnoRet, archMap, syscalls } = seccompSchema.parse(
    JSON.parse(readFileSync(seccompFile, 'utf8')),
  );
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const machine = process.arch === 'x64' ? 'SCMP_ARCH_X86_64' : 'SCMP_ARCH_AARCH64';
  const newer = (than: string) => release().localeCompare(than, undefined, { numeric: true }) >= 0;
  const rules = syscalls.filter(
    ({ includes, excludes }) =>
      (includes.caps ?? []).every((name) => capabilities.includes(name)) &&
      (includes.arches?.includes(arch) ?? true) &&
      (includes.minKernel === undefined || newer(includes.minKernel)) &&
      !(excludes.caps ?? []).some((name) => capabilities.includes(name)) &&
      !(excludes.arches ?? []).includes(arch),
  );
  // containerd and Docker: pkg/seccomp, "CAP_BPF" and "CAP_PERFMON".
  const granted = [
    ...(knowsBpf && capabilities.includes('CAP_BPF') ? ['bpf'] : []),
    ...(knowsBpf && capabilities.includes('CAP_PERFMON') ? ['perf_event_open'] : []),
  ];
  const resolved = rules.map(({ names, action, errnoRet, args }) => ({
    names: names.filter((name) => !granted.includes(name)),
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    args: args ?? [],
  }));
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    architectures: archMap.flatMap(({ architecture, subArchitectures }) =>
      architecture === machine ? [architecture, ...(subArchitectures ?? [])] : [],
    ),
    syscalls: [
      ...resolved.filter(({ names }) => names.length > 0),
      ...(granted.length > 0 ? [{ names: granted, action: 'SCMP_ACT_ALLOW' }] : []),
    ],
  };
}
