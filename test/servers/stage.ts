// Services that one agent serves, this process as their client, and what Nity did to them.
import { rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { Desk } from '../e2e/desk.js';
import { ownCgroup } from '../kernel/rig.js';
import type { Endpoint } from './backends.js';
import { patiently } from './patience.js';

export interface Service {
  /** In lower case; the route is "everyday/NAME:tcp". */
  readonly name: string;
  readonly vip: string;
  readonly backends: readonly Endpoint[];
}

export interface BackendState {
  readonly name: string;
  readonly state: string;
  readonly slots: number;
  /** Connects that were sent to it since the service was created. */
  readonly picks: number;
}

interface InspectedBackend {
  readonly backend: string;
  readonly state: string;
  readonly slots: number;
  readonly picks: string;
}

/** Every service is dialled at this port. */
export const servicePort = 80;

export class Stage {
  readonly desk = new Desk();
  private readonly home = ownCgroup();
  private deeds: () => readonly string[] = () => [];

  /** The agent serves them when this returns. Processes born before `enter` are no clients. */
  async serve(services: readonly Service[]): Promise<void> {
    const written = services.map(({ name, vip, backends }) => ({
      name: `everyday/${name}`,
      vip,
      ports: [{ name: 'tcp', port: servicePort, protocol: 'TCP' }],
      backends: backends.map(({ port }) => ({ address: '127.0.0.1', port })),
    }));
    // JSON is YAML.
    writeFileSync(this.desk.services, JSON.stringify({ services: written }));
    const { child, log } = this.desk.startAgent('--services', this.desk.services);
    this.deeds = () =>
      log()
        .split('\n')
        .filter((line) => /admission |slots|isolation/.test(line));
    await patiently('served', () => {
      if (child.exitCode !== null) throw new Error(`the agent ended:\n${log()}`);
      return /epoch \d+: |routes are served[^]*epoch/.test(log());
    });
  }

  /** This process, and the children that it has from now on, are clients. */
  enter(): void {
    writeFileSync(join(this.desk.cgroup, 'cgroup.procs'), String(process.pid));
  }

  async backends(service: Service): Promise<readonly BackendState[]> {
    const route = `everyday/${service.name}:tcp`;
    const { stdout, stderr } = await this.desk.nity(
      ...['inspect', 'backends', '--json', '--route', route],
    );
    if (stdout === '') throw new Error(stderr);
    const { backends } = JSON.parse(stdout) as { backends: readonly InspectedBackend[] };
    return service.backends.map(({ name, port }) => {
      const found = backends.find(({ backend }) => backend === `127.0.0.1:${port}`);
      if (found === undefined) throw new Error(`${route} has no backend at port ${port}`);
      return { name, state: found.state, slots: found.slots, picks: Number(found.picks) };
    });
  }

  /** What the agent said it did, for whoever reads why a test failed. */
  valveLog(): string {
    return ['what was done:', ...this.deeds().slice(-20)].join('\n');
  }

  async close(): Promise<void> {
    writeFileSync(join(this.home, 'cgroup.procs'), String(process.pid));
    await this.desk.clear();
    // Children that were killed leave the cgroup a little later.
    await patiently('empty', () => {
      rmdirSync(this.desk.cgroup);
      return true;
    });
    rmdirSync(dirname(this.desk.pinPath));
    rmSync(this.desk.directory, { recursive: true, force: true });
  }
}
