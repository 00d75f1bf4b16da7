import { Flags } from '@oclif/core';
import { hostname } from 'node:os';
import { resolve } from 'node:path';

import { logAction } from '../lib/audit/operator-log.js';
import { cgroupFlag, changeFlags, common, latencyFlag, NityCommand } from '../lib/cli/command.js';
import { AgentLogger } from '../lib/cli/agent-logger.js';
import { parseDuration } from '../lib/cli/duration.js';
import { parseAddress } from '../lib/audit/address.js';
import { knobsFrom } from '../lib/config/load.js';
import { cgroupRoot } from '../lib/dataplane/cgroup.js';
import { seeAttached } from '../lib/dataplane/inspection.js';
import { load } from '../lib/dataplane/loader.js';
import { unload } from '../lib/dataplane/unload.js';
import { isLoaded } from '../lib/dataplane/pins.js';
import { runAgent } from '../lib/agent/run.js';
import type { RouteSource } from '../lib/agent/sources.js';
import { InputError } from '../lib/errors.js';
import { selectionOf } from '../lib/kubernetes/selection.js';
import type { RecordOptions } from '../lib/recorder/flight.js';
import { enforceByNamespace } from '../lib/routes/enforce.js';
import { readServices } from '../lib/routes/services-watch.js';

const mib = 1 << 20;

export default class RunAgent extends NityCommand<typeof RunAgent> {
  static override summary = 'Run the agent in the foreground; SIGTERM stops it cleanly.';
  static override description =
    'Loads the dataplane if it is not loaded, serves what the services file or the cluster says, and on each tick ' +
    'reads the kernel’s counters and moves slots. The log goes to stderr. SIGHUP reads the knobs ' +
    'again. The last minutes of ticks are kept in memory, and written to NITY_RUN_DIR/traces when ' +
    'admission or the failsafe mode changes, on SIGUSR2 and in a crash. The dataplane outlives it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --services services.yaml',
    '<%= config.bin %> <%= command.id %> --kubeconfig ~/.kube/config --namespaces shop,bank',
    '<%= config.bin %> <%= command.id %> --services services.yaml --knob tickMs=100 --log-level warn',
    '<%= config.bin %> <%= command.id %> --services services.yaml --record /var/lib/nity/traces',
  ];
  static override flags = {
    ...common,
    ...cgroupFlag,
    ...latencyFlag,
    services: Flags.string({
      summary: 'the services file; it is watched. Without it, routes come from the cluster',
      env: 'NITY_SERVICES',
      exclusive: ['kubeconfig', 'context', 'selector', 'namespaces'],
    }),
    kubeconfig: Flags.string({
      summary: 'how to reach the cluster; by default as the pod that this is, or as kubectl does',
      env: 'NITY_KUBECONFIG',
      helpGroup: 'CLUSTER',
    }),
    context: Flags.string({
      summary: 'the context of the kubeconfig',
      env: 'NITY_CONTEXT',
      helpGroup: 'CLUSTER',
    }),
    'node-name': Flags.string({
      summary: 'the name of this node in the cluster; by default its host name',
      env: 'NODE_NAME',
      helpGroup: 'CLUSTER',
    }),
    selector: Flags.string({
      summary: 'serve only Services with these labels, as in kubectl get -l',
      env: 'NITY_SELECTOR',
      helpGroup: 'CLUSTER',
    }),
    namespaces: Flags.string({
      summary: 'serve only Services of these namespaces, separated by commas',
      env: 'NITY_NAMESPACES',
      helpGroup: 'CLUSTER',
    }),
    'enforce-namespaces': Flags.string({
      summary:
        'what is enforced in these namespaces, as shop=observe,batch=25%: full, observe or a percentage',
      env: 'NITY_ENFORCE_NAMESPACES',
    }),
    config: Flags.string({ summary: 'a YAML file of knobs', env: 'NITY_CONFIG' }),
    knob: Flags.string({ summary: 'set a knob, as name=value', multiple: true, default: [] }),
    'app-socket': Flags.string({
      summary: 'a unix socket on which applications may say how backends do',
      env: 'NITY_APP_SOCKET',
    }),
    record: Flags.string({
      summary: 'write every tick to this directory, for `nity replay`',
      env: 'NITY_RECORD',
    }),
    'record-size': Flags.integer({
      summary: 'MiB of ticks that are kept: by default 256 there, 16 in memory',
      min: 1,
      env: 'NITY_RECORD_SIZE',
    }),
    'record-age': Flags.string({
      summary: 'how long they are kept: by default 24h there, 5m in memory',
      env: 'NITY_RECORD_AGE',
    }),
    'no-record': Flags.boolean({
      summary: 'record nothing, whatever else is asked for',
      env: 'NITY_NO_RECORD',
    }),
    'metrics-addr': Flags.string({
      summary: 'serve metrics for Prometheus there, as 127.0.0.1:9464; off without it',
      env: 'NITY_METRICS_ADDR',
    }),
    'audit-log': changeFlags['audit-log'],
    'health-addr': Flags.string({
      summary: 'answer a kubelet’s probes there, as 127.0.0.1:9465; off without it',
      env: 'NITY_HEALTH_ADDR',
    }),
    upgrade: Flags.boolean({
      summary: 'replace the programs of a dataplane that is loaded by those of this nity',
      env: 'NITY_UPGRADE',
    }),
    'log-level': Flags.option({
      options: ['info', 'warn'] as const,
      default: 'info' as const,
      summary: 'least level that is logged',
      env: 'NITY_LOG_LEVEL',
    })(),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const pinPath = flags['pin-path'];
    const metricsAddress = flags['metrics-addr'];
    const log = new AgentLogger(flags['log-level']);
    const knobSources = { file: flags.config, flags: flags.knob, environment: process.env };
    const knobs = knobsFrom(knobSources);
    const record = this.record();
    // Checked before anything is loaded: bad input changes nothing.
    const source = this.source();
    const enforceNamespaces = enforceByNamespace(flags['enforce-namespaces']);
    const metrics =
      metricsAddress === undefined ? {} : { metrics: parseAddress(metricsAddress, 'metrics') };
    const healthAddress = flags['health-addr'];
    const health =
      healthAddress === undefined ? {} : { health: parseAddress(healthAddress, 'health') };
    const loadedHere = !isLoaded(pinPath);
    // A dataplane that is loaded is taken as it is, unless something else is asked for.
    if (loadedHere || flags.upgrade || flags.latency !== undefined) {
      const cgroup = flags.cgroup ?? cgroupRoot();
      const before = seeAttached(pinPath);
      const report = load({ pinPath, cgroup, knobs, ...this.latency() });
      const did = report.action === 'unchanged' ? 'kept' : report.action;
      log.info(`${did} the dataplane: schema ${report.schema}, attached to ${cgroup}`);
      if (report.action !== 'unchanged') this.writeDown(log, 'run-agent: load', before, report);
    }
    const stop = new AbortController();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        stop.abort();
      });
    }
    try {
      await runAgent({
        pinPath,
        source,
        knobs,
        knobSources,
        enforceNamespaces,
        ...(flags['app-socket'] === undefined ? {} : { appSocket: resolve(flags['app-socket']) }),
        record,
        ...metrics,
        ...health,
        version: this.config.version,
        log,
        signal: stop.signal,
      });
    } catch (error) {
      // What cannot be served must not leave a dataplane behind that was not there before.
      if (loadedHere && error instanceof InputError) {
        const { removed } = unload({ pinPath, force: true });
        this.writeDown(log, 'run-agent: unload', removed, null);
      }
      throw error;
    }
  }

  /** What the agent changes by itself is told where operators' changes are. */
  private writeDown(log: AgentLogger, command: string, before: unknown, after: unknown): void {
    const { flags } = this;
    const problem = logAction(flags['audit-log'], {
      ...{ command, pinPath: flags['pin-path'], reason: undefined },
      ...{ before, after },
    });
    if (problem !== undefined) log.warn(problem);
  }

  private source(): RouteSource {
    const { services, kubeconfig, context, selector, namespaces } = this.flags;
    if (services !== undefined) {
      readServices(services);
      return { kind: 'file', path: resolve(services) };
    }
    return {
      kind: 'cluster',
      access: { kubeconfig, context },
      selection: selectionOf(selector, namespaces),
      nodeName: this.flags['node-name'] ?? hostname(),
    };
  }

  private record(): RecordOptions {
    const { flags } = this;
    const { record, 'record-size': size, 'record-age': age } = flags;
    const limits = {
      ...(size === undefined ? {} : { bytesMost: size * mib }),
      ...(age === undefined ? {} : { ageMostMs: parseDuration(age, '--record-age') }),
    };
    if (flags['no-record']) return { kind: 'off' };
    if (record === undefined) return { kind: 'ring', ...limits };
    return { kind: 'disk', directory: resolve(record), ...limits };
  }

  private latency(): { latency?: 'first-byte' | 'connect' } {
    const { latency } = this.flags;
    return latency === undefined ? {} : { latency };
  }
}
