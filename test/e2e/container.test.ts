// The image and the DaemonSet's pod, run for real: exactly the manifest's capabilities, the
// runtime's seccomp profile, a read-only root, and connects of the host's that they serve.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { readField, type FailsafeModeName } from '../../src/lib/dataplane/control.js';
import { BpfLink, fileSystemType } from '../../src/lib/dataplane/native.js';
import { linkPin, openPlane } from '../../src/lib/dataplane/pins.js';
import { PinRoom } from '../kernel/pin-room.js';
import { suppressedHere } from '../kernel/refusal.js';
import { NamedServer, otherBuild, unavailable, until } from '../kernel/rig.js';
import { ApiServer } from '../kubernetes/api-server.js';
import { node, service, slice } from '../kubernetes/objects.js';
import { untroubled } from './desk.js';
import { Image, readPod, run, whyNoContainers, type Running, type RunOptions } from './pod.js';

const skipped = unavailable ?? whyNoContainers();
const vip = '127.96.203.1';

/** Connects without pause from a cgroup of the test's; says how each ended. */
const client = `
  const { connect } = require('node:net');
  const [host, port] = process.argv.slice(1);
  const counts = {};
  let connects = 0;
  const again = () => {
    const socket = connect({ host, port: Number(port) });
    let answer = '';
    // The servers are the test's own process, which has other things to do at times.
    socket.setTimeout(30000, () => socket.destroy(new Error('silence')));
    socket.on('data', (bytes) => (answer += bytes));
    socket.on('error', (error) => (answer = error.code ?? error.message));
    socket.on('close', () => {
      counts[answer] = (counts[answer] ?? 0) + 1;
      connects++;
      setImmediate(again);
    });
  };
  again();
  process.on('message', () => process.send({ connects, counts }));
`;

class Client {
  private readonly child: ChildProcess;

  constructor(cgroup: string) {
    this.child = spawn(
      'sh',
      ['-c', 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', 'sh', cgroup, process.execPath].concat(
        '-e',
        client,
        vip,
        '80',
      ),
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
  }

  /** Connects so far, and how many ended in each answer. */
  ask(): Promise<{ connects: number; counts: Record<string, number> }> {
    return new Promise((resolve) => {
      this.child.once('message', (said) => {
        resolve(said as { connects: number; counts: Record<string, number> });
      });
      this.child.send('how many');
    });
  }

  async atLeast(connects: number): Promise<void> {
    const deadline = performance.now() + 60_000;
    while ((await this.ask()).connects < connects) {
      if (performance.now() > deadline) throw new Error(`there were no ${connects} connects`);
      await sleep(20);
    }
  }

  /** So many that began after this was called, and one that may have begun before. */
  async more(connects: number): Promise<void> {
    await this.atLeast((await this.ask()).connects + connects + 1);
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

describe.skipIf(skipped !== undefined)('the step that prepares a node', () => {
  const [prepare] = readPod().initContainers;
  let image: Image;
  let node = '';
  let bpffs = '';

  beforeAll(() => {
    image = new Image();
    node = mkdtempSync(join(tmpdir(), 'nity-node-'));
    bpffs = join(node, 'bpf');
    // As /sys is on a node with systemd: what is mounted in it is seen by all.
    execFileSync('mount', ['--bind', node, node]);
    execFileSync('mount', ['--make-shared', node]);
    mkdirSync(bpffs);
  }, 300_000);

  afterAll(() => {
    execFileSync('umount', ['--recursive', node]);
    rmSync(node, { recursive: true });
    image.remove();
  });

  it('mounts a BPF file system where there is none, so that the node sees it', async () => {
    const first = run(image, prepare, { volumes: { bpffs } });
    expect(await first.ended()).toBe(0);
    expect(first.log()).toContain('BPF file system: now mounted at /sys/fs/bpf');
    expect(first.log()).toMatch(/cgroup v2: its root is at \/host\/cgroup/);
    expect(fileSystemType(bpffs)).toBe('bpf');

    const second = run(image, prepare, { volumes: { bpffs } });
    expect(await second.ended()).toBe(0);
    expect(second.log()).toContain('BPF file system: mounted at /sys/fs/bpf');
  });

  it('stops where the root of cgroup v2 is not to be found, and says what to do', async () => {
    const one = run(image, prepare, { volumes: { cgroup: node } });
    expect(await one.ended()).toBe(1);
    expect(one.log()).toContain('The root of the cgroup v2 hierarchy is not below /host/cgroup.');
    expect(one.log()).toContain('→ Mount it on the node');
  });
});

describe.skipIf(skipped !== undefined)('the pod of the DaemonSet', () => {
  const own = `nity-test-pod-${process.pid}`;
  const room = new PinRoom(own);
  const { pinPath } = room;
  const pod = readPod();
  const [agent] = pod.containers;
  const root = skipped === undefined ? cgroupRoot() : '/';
  const cgroup = join(root, own);
  const place = {
    NITY_PIN_PATH: pinPath,
    // The manifest's port belongs to the agent of this node, if there is one.
    NITY_HEALTH_ADDR: '127.0.0.1:0',
    NITY_CONFIG: '/etc/nity/knobs.yaml',
    NITY_CGROUP: join('/host/cgroup', basename(root) === 'unified' ? 'unified' : '', own),
  };
  const environment = { NITY_SERVICES: '/etc/nity/services.yaml', ...place };
  const servers = ['red', 'blue'].map((name) => new NamedServer(name, false));
  const running: Running[] = [];
  const clients: Client[] = [];
  let directory = '';
  let knobs = '';
  let image: Image;

  beforeAll(async () => {
    image = new Image();
    mkdirSync(cgroup);
    room.open();
    for (const server of servers) await server.listen();
  }, 300_000);

  afterAll(() => {
    for (const server of servers) server.close();
    room.close();
    rmdirSync(cgroup);
    image.remove();
  });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'nity-pod-'));
    knobs = join(directory, 'knobs.yaml');
    writeFileSync(knobs, untroubled.map((knob) => knob.replace('=', ': ')).join('\n'));
    writeFileSync(
      join(directory, 'services.yaml'),
      JSON.stringify({
        services: [
          {
            name: 'shop/cart',
            vip,
            ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
            backends: servers.map(({ port }) => ({ address: '127.0.0.1', port })),
          },
        ],
      }),
    );
  });

  afterEach(async () => {
    for (const one of clients.splice(0)) await one.end();
    for (const one of running.splice(0)) await one.stop('KILL');
    room.clear();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The manifest's agent on files, a cgroup and pins of the test's own. */
  function start({ files, ...options }: RunOptions = {}): Running {
    const started = run(image, agent, {
      volumes: { run: directory, log: directory },
      files: {
        '/etc/nity/services.yaml': join(directory, 'services.yaml'),
        '/etc/nity/knobs.yaml': knobs,
        ...files,
      },
      env: environment,
      ...options,
    });
    running.push(started);
    return started;
  }

  /** As the kubelet: by the manifest's own startup probe. */
  async function serving(options: RunOptions = {}): Promise<Running> {
    const started = start(options);
    await expect.poll(() => probe(started, 'startupProbe')).toBe(200);
    return started;
  }

  /** The status that a probe of the manifest ends with; 0 when nobody answers. */
  async function probe(
    of: Running,
    name: 'startupProbe' | 'livenessProbe' | 'readinessProbe',
  ): Promise<number> {
    const [, at] = /health is served at (\S+)/.exec(of.log()) ?? [];
    const path = agent[name]?.httpGet.path;
    if (of.child.exitCode !== null) throw new Error(of.log());
    if (at === undefined || path === undefined) return 0;
    return (await fetch(at + path)).status;
  }

  /**
   * Looks again until nothing is wrong: a busy machine may keep a tick waiting. The test's own
   * cgroup is not the root of the node's, which NITY032 is about.
   */
  const doctor = [
    ...['nity', 'doctor', '--json', '--fail-on', 'warn', '--wait', '40s'],
    ...['--suppress', 'NITY032', ...suppressedHere],
  ];

  function dial(): Client {
    const one = new Client(cgroup);
    clients.push(one);
    return one;
  }

  it('serves connects of the host with the capabilities of the manifest and no others', async () => {
    const one = await serving();

    const status = await one.exec('cat', '/proc/1/status');
    // CAP_NET_ADMIN is 12, CAP_PERFMON 38, CAP_BPF 39.
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) {
      expect(status).toMatch(new RegExp(`${set}:\\t000000c000001000\\n`));
    }
    expect(status).toMatch(/CapInh:\t0+\n/);
    expect(status).toMatch(/NoNewPrivs:\t1\n/);
    expect(status).toMatch(/Seccomp:\t2\n/);
    const client = dial();
    await client.atLeast(100);
    const { connects, counts } = await client.ask();
    expect(Object.keys(counts).sort()).toEqual(['blue', 'red']);
    expect((counts['red'] ?? 0) + (counts['blue'] ?? 0)).toBe(connects);
  });

  it('has no compiler in its image, and needs none: what it loads is built', async () => {
    const tools = 'cc gcc g++ clang make bpftool';
    const one = run(image, agent, {
      argv: ['sh', '-c', `for tool in ${tools}; do command -v $tool; done; ls /opt/nity/bpf/build`],
    });
    running.push(one);
    await one.ended();
    expect(one.log().trim().split('\n')).toEqual(['nity.bpf.o', 'nity.node', 'sockets.bpf.o']);
  });

  it('finds the root of the node’s cgroups behind its own', async () => {
    const one = run(image, agent, {
      below: cgroup,
      argv: ['sh', '-c', 'grep -c cgroup2 /proc/self/mountinfo; nity doctor --json || true'],
    });
    running.push(one);
    await one.ended();
    const [mounts = '', ...json] = one.log().split('\n');
    expect(Number(mounts)).toBe(2);
    const { checks } = JSON.parse(json.join('\n')) as {
      checks: { id: string; status: string; seen: string }[];
    };
    const place = join('/host/cgroup', basename(root) === 'unified' ? 'unified' : '');
    expect(checks.find(({ id }) => id === 'NITY032')).toMatchObject({
      status: 'ok',
      seen: `another one, and the host’s root is at ${place}`,
    });
  });

  it('answers the probes of the manifest', async () => {
    const one = await serving();
    expect(await probe(one, 'livenessProbe')).toBe(200);
    expect(await probe(one, 'readinessProbe')).toBe(200);
  });

  it('finds nothing wrong when the doctor is asked inside of it', async () => {
    const one = await serving();
    const asked = await one.exec(...doctor);
    const { checks } = JSON.parse(asked) as {
      checks: { id: string; status: string; seen: string }[];
    };
    expect(checks.filter(({ status }) => status !== 'ok')).toEqual([]);
    expect(checks.map(({ id }) => id)).toEqual(expect.arrayContaining(['NITY044', 'NITY095']));
  });

  it.each(['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'])(
    'needs %s: without it the agent says so and loads nothing',
    async (dropped) => {
      const rest = ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'].filter((name) => name !== dropped);
      const one = start({ capabilities: rest });
      expect(await one.ended()).toBe(3);
      expect(one.log()).toContain(`which lacks ${dropped} and has ${rest.join(', ')}.`);
      expect(existsSync(pinPath)).toBe(false);
    },
  );

  it('says what is missing where the seccomp profile of the runtime does not know CAP_BPF', async () => {
    const one = start({ seccompKnowsBpf: false });
    expect(await one.ended()).toBe(3);
    expect(one.log()).toContain('seccomp');
  });

  it('follows its cluster as its ServiceAccount, and when the pod is replaced', async () => {
    const api = await ApiServer.start();
    const account = '/var/run/secrets/kubernetes.io/serviceaccount';
    api.writeServiceAccount(directory);
    api.apply('nodes', node('node-a', '127.96.203.9'));
    api.apply('services', service('shop/cart', vip));
    for (const { name, port } of servers) {
      const ports = [{ name: 'http', protocol: 'TCP', port }];
      api.apply('endpointslices', slice(`shop/cart-${name}`, 'cart', ['127.0.0.1'], { ports }));
    }
    const inCluster = {
      env: {
        ...place,
        NODE_NAME: 'node-a',
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String(api.port),
      },
      files: Object.fromEntries(
        ['token', 'ca.crt'].map((name) => [`${account}/${name}`, join(directory, name)]),
      ),
    };
    try {
      const before = await serving(inCluster);
      const client = dial();
      await client.atLeast(200);
      // Whether kube-proxy answers is this machine's affair.
      const asked = await before.exec(...doctor, '--suppress', 'NITY105');
      const { checks } = JSON.parse(asked) as { checks: { id: string; status: string }[] };
      expect(checks.map(({ id }) => id)).toEqual(
        expect.arrayContaining(['NITY100', 'NITY101', 'NITY102', 'NITY103', 'NITY106']),
      );
      expect(checks.filter(({ status }) => status !== 'ok')).toEqual([]);

      expect(await before.stop()).toBe(0);
      await serving(inCluster);
      await client.more(200);
      expect(Object.keys((await client.ask()).counts).sort()).toEqual(['blue', 'red']);
    } finally {
      await api.stop();
    }
  });

  it('carries every connect through an upgrade to another build of the programs', async () => {
    const next = otherBuild(directory);
    const before = await serving();
    const tagBefore = tagOf(pinPath);
    const client = dial();
    await client.atLeast(200);

    expect(await before.stop()).toBe(0);
    const stoppedAt = (await client.ask()).connects;
    const after = await serving({ files: { '/opt/nity/bpf/build/nity.bpf.o': next } });
    const servingAt = (await client.ask()).connects;
    await client.more(200);

    expect(after.log()).toContain('upgraded the dataplane');
    expect(tagOf(pinPath)).not.toBe(tagBefore);
    const { counts, connects } = await client.ask();
    console.log(
      `upgrade: ${connects} connects, ${servingAt - stoppedAt} of them without an agent: ${JSON.stringify(counts)}`,
    );
    expect(Object.keys(counts).sort()).toEqual(['blue', 'red']);
  });

  it('carries every connect through the death of the agent, HOLD, FALLBACK and the return', async () => {
    // HOLD lasts until this test ends it, however long it takes to look.
    appendFileSync(knobs, '\ntau1Ms: 300\ntau2Ms: 3600000\n');
    const before = await serving();
    const client = dial();
    await client.atLeast(200);

    await before.stop('KILL');
    const plane = openPlane(pinPath);
    const mode = () => readField(plane).failsafeMode;
    const connectsIn = async (stage: FailsafeModeName) => {
      await until(() => mode() === stage);
      await client.more(200);
    };
    try {
      await connectsIn('hold');
      expect(mode()).toBe('hold');
      plane.fieldState.write(0, { fallbackAfterNs: 400_000_000n });
      await connectsIn('fallback');
      expect(mode()).toBe('fallback');
      await serving();
      await connectsIn('normal');
    } finally {
      plane.close();
    }

    const { counts, connects } = await client.ask();
    console.log(`death: ${connects} connects: ${JSON.stringify(counts)}`);
    expect(Object.keys(counts).sort()).toEqual(['blue', 'red']);
  });

  it('leaves the node as it was when the overlay that removes it is applied', async () => {
    const before = await serving();
    await before.stop();
    expect(existsSync(pinPath)).toBe(true);

    const [unloading] = readPod('overlays/remove').containers;
    const one = run(image, unloading, { env: environment });
    running.push(one);
    await expect.poll(() => one.log()).toContain(`Unloaded ${pinPath}`);

    expect(existsSync(pinPath)).toBe(false);
    // It only waits now, so that the kubelet does not start it over and over.
    await sleep(500);
    expect(one.child.exitCode).toBeNull();
    // A pod that is started again finds nothing to unload, and that is no error.
    const again = run(image, unloading, { env: environment });
    running.push(again);
    await sleep(2_000);
    expect(again.child.exitCode).toBeNull();
  });
});

/** The kernel's hash of the program that translates connects. */
function tagOf(pinPath: string): string | null {
  const link = BpfLink.open(linkPin(pinPath, 'nity_connect4'));
  const { programTag } = link.info();
  link.close();
  return programTag;
}
