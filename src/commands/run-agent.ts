import { Flags } from '@oclif/core';
import { resolve } from 'node:path';

import { cgroupFlag, common, latencyFlag, NityCommand } from '../lib/cli/command.js';
import { AgentLogger } from '../lib/cli/agent-logger.js';
import { parseDuration } from '../lib/cli/duration.js';
import { parseMetricsAddress } from '../lib/audit/metrics-address.js';
import { knobsFrom } from '../lib/config/load.js';
import { cgroupRoot } from '../lib/dataplane/cgroup.js';
import { load } from '../lib/dataplane/loader.js';
import { unload } from '../lib/dataplane/unload.js';
import { isLoaded } from '../lib/dataplane/pins.js';
import { runAgent } from '../lib/agent/run.js';
import { InputError } from '../lib/errors.js';
import type { RecordOptions } from '../lib/recorder/flight.js';
import { readServices } from '../lib/routes/services-watch.js';

const mib = 1 << 20;

export default class RunAgent extends NityCommand<typeof RunAgent> {
  static override summary = 'Run the agent in the foreground; SIGTERM stops it cleanly.';
  static override description =
    'Loads the dataplane if it is not loaded, serves what the services file says, and on each tick ' +
    'reads the kernel’s counters and moves slots. The log goes to stderr. SIGHUP reads the knobs ' +
    'again. The last minutes of ticks are kept in memory, and written to NITY_RUN_DIR/traces when ' +
    'admission or the failsafe mode changes, on SIGUSR2 and in a crash. The dataplane outlives it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --services services.yaml',
    '<%= config.bin %> <%= command.id %> --services services.yaml --knob tickMs=100 --log-level warn',
    '<%= config.bin %> <%= command.id %> --services services.yaml --record /var/lib/nity/traces',
  ];
  static override flags = {
    ...common,
    ...cgroupFlag,
    ...latencyFlag,
    services: Flags.string({
      required: true,
      summary: 'the services file; it is watched',
      env: 'NITY_SERVICES',
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
    readServices(flags.services);
    const metrics =
      metricsAddress === undefined ? {} : { metrics: parseMetricsAddress(metricsAddress) };
    const loadedHere = !isLoaded(pinPath);
    // A dataplane that is loaded is taken as it is, but for a measure that was asked for.
    if (loadedHere || flags.latency !== undefined) {
      const cgroup = flags.cgroup ?? cgroupRoot();
      const report = load({ pinPath, cgroup, knobs, ...this.latency() });
      log.info(`${report.action} the dataplane: schema ${report.schema}, attached to ${cgroup}`);
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
        services: resolve(flags.services),
        knobs,
        knobSources,
        ...(flags['app-socket'] === undefined ? {} : { appSocket: resolve(flags['app-socket']) }),
        record,
        ...metrics,
        version: this.config.version,
        log,
        signal: stop.signal,
      });
    } catch (error) {
      // What cannot be served must not leave a dataplane behind that was not there before.
      if (loadedHere && error instanceof InputError) unload({ pinPath, force: true });
      throw error;
    }
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
