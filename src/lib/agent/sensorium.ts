// The agent's senses beside the kernel's counters: the node's sensors, and what
// applications say.
import type { Knobs } from '../config/knobs.js';
import { nothingSensed, type AppSummary, type NodeSignals } from '../field/signals.js';
import type { RouteSet } from '../routes/route-set.js';
import { AppSummaries } from '../sensors/app-summaries.js';
import type { Senses } from './agent.js';
import type { AgentLog } from './run.js';

export class Sensorium implements Senses {
  private apps: AppSummaries | undefined;

  constructor(
    private readonly log: AgentLog,
    readonly wake: () => void,
  ) {}

  async hear(
    path: string,
    knobs: Knobs,
    served: (route: string, backend: string) => boolean,
  ): Promise<void> {
    this.apps = await AppSummaries.listen(path, { served, appSummaryMs: knobs.appSummaryMs });
    this.log.info(`applications may speak at ${path}`);
  }

  watch(_routes: RouteSet): void {}

  retune(knobs: Knobs): void {
    if (this.apps !== undefined) this.apps.appSummaryMs = knobs.appSummaryMs;
  }

  node(lagMs: number): NodeSignals {
    return { ...nothingSensed('no sensors are attached'), loopLagMs: lagMs };
  }

  app(route: string, backend: string): AppSummary | null {
    return this.apps?.read(route, backend, performance.now()) ?? null;
  }

  async close(): Promise<void> {
    await this.apps?.close();
  }
}
