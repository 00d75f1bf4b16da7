// A Prometheus of a test's own: Debian's, on a free port of 127.0.0.1, with its data
// in a directory that goes with it.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';

/** Why there is no Prometheus here, or undefined. CI counts a skip as a failure. */
export const noPrometheus = whyNot();

function whyNot(): string | undefined {
  const missing = ['prometheus', 'promtool'].filter(
    (name) => spawnSync(name, ['--version']).error !== undefined,
  );
  if (missing.length === 0) return undefined;
  const reason = `these tests are skipped: this machine lacks ${missing.join(' and ')}`;
  console.warn(reason);
  return reason;
}

/** What promtool says, on whichever stream; empty when it finds nothing wrong. */
export function promtool(
  args: readonly string[],
  input = '',
): { code: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', [...args], { input, encoding: 'utf8' });
  return { code: status, said: `${stdout}${stderr}`.trim() };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listenOnLastingPort(server);
  server.close();
  await once(server, 'close');
  return port;
}

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export class Prometheus {
  private constructor(
    private readonly process: ChildProcess,
    private readonly directory: string,
    private readonly url: string,
  ) {}

  /** Scrapes `target` ("127.0.0.1:9464") each second, and judges the rules of `rules`. */
  static async start(target: string, rules: readonly string[] = []): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), 'nity-prometheus-'));
    const config = join(directory, 'prometheus.yaml');
    // JSON is YAML.
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
        rule_files: rules,
        scrape_configs: [{ job_name: 'nity', static_configs: [{ targets: [target] }] }],
      }),
    );
    const port = await freePort();
    const process = spawn(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=warn',
      ],
      { stdio: 'ignore' },
    );
    return new Prometheus(process, directory, `http://127.0.0.1:${port}`);
  }

  private async ask<T>(path: string): Promise<T | undefined> {
    try {
      const answer = await fetch(`${this.url}${path}`);
      const { data } = (await answer.json()) as { data: T };
      return data;
    } catch {
      return undefined;
    }
  }

  /** The instant value of an expression; nothing while Prometheus starts. */
  async query(expression: string): Promise<readonly Sample[]> {
    const found = await this.ask<{ result: Sample[] }>(
      `/api/v1/query?query=${encodeURIComponent(expression)}`,
    );
    return found?.result ?? [];
  }

  /** The names of the alerts that are pending or firing. */
  async alerts(): Promise<readonly string[]> {
    const found = await this.ask<{ alerts: { labels: { alertname: string } }[] }>('/api/v1/alerts');
    return (found?.alerts ?? []).map(({ labels }) => labels.alertname);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await ended;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
