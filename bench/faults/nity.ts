// Nity as a peer: the built command line on a dataplane of its own, with the
// agent at work, or with what the dataplane does by itself once it is gone.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { stringify } from 'yaml';

import { readField } from '../../src/lib/dataplane/control.js';
import { isLoaded, openPlane } from '../../src/lib/dataplane/pins.js';
import { unload } from '../../src/lib/dataplane/unload.js';
import { end, type Undo } from '../undo.js';
import { vipPort } from './plan.js';
import { SlotWatch } from './slots.js';
import { requireRunning, type Service, type Stage } from './stage.js';

export interface NityChoice {
  readonly gear: 'auto' | 'single' | 'twin';
  /** `gone`: killed once its first field is in force, which then holds for the whole trial. */
  readonly agent: 'runs' | 'gone';
}

const cli = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
const holdForHours = ['--knob', 'tau1Ms=600000', '--knob', 'tau2Ms=3600000'];

function servicesFile(vip: string, gear: NityChoice['gear'], ports: readonly number[]): string {
  return stringify({
    services: [
      {
        name: 'bench/faults',
        vip,
        ports: [{ name: 'tcp', port: vipPort, protocol: 'TCP' }],
        gear,
        backends: ports.map((port) => ({ address: '127.0.0.1', port })),
      },
    ],
  });
}

export async function openNity(
  vip: string,
  { gear, agent: fate }: NityChoice,
  stage: Stage,
  undo: Undo,
): Promise<Service> {
  const name = `nity-${fate}-${gear}`;
  const pinPath = `/sys/fs/bpf/nity-faults-${process.pid}`;
  const services = join(stage.directory, `${name}.yaml`);
  writeFileSync(services, servicesFile(vip, gear, stage.ports));
  const cgroup = stage.cgroup(name, undo);
  // Before the agent, which loads: undone in the opposite order, it unloads after the agent.
  undo.push(() => void unload({ pinPath, force: true }));
  const where = ['--services', services, '--pin-path', pinPath, '--cgroup', cgroup];
  const hold = fate === 'gone' ? holdForHours : [];
  const agent = stage.spawn(
    process.execPath,
    [cli, 'run-agent', ...where, '--log-level', 'warn', ...hold],
    undo,
  );
  await stage.until('the dataplane to be loaded', () => {
    requireRunning(agent, 'the agent');
    return isLoaded(pinPath);
  });
  const plane = openPlane(pinPath);
  undo.push(() => {
    plane.close();
  });
  await stage.until('the agent to project its first field', () => {
    requireRunning(agent, 'the agent');
    const field = readField(plane);
    return field.agentPid === agent.pid && field.failsafeMode === 'normal' && field.epoch > 2n;
  });
  if (fate === 'gone') await end(agent);
  const slots = new SlotWatch(plane, stage.ports);
  undo.push(() => {
    slots.stop();
  });
  return {
    vip,
    cgroup,
    slots,
    requireAlive: () => {
      if (fate === 'runs') requireRunning(agent, 'the agent');
      const { failsafeMode } = readField(plane);
      if (failsafeMode !== 'normal') throw new Error(`the dataplane is in ${failsafeMode}`);
    },
  };
}
