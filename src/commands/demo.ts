import { Flags } from '@oclif/core';

import { common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { DemoView, renderFacts } from '../lib/cli/demo-view.js';
import { makeKnobs } from '../lib/config/knobs.js';
import { KernelStage } from '../lib/demo/kernel-stage.js';
import { ModelStage } from '../lib/demo/model-stage.js';
import { demoBackends } from '../lib/demo/stage.js';
import { play, story, type PhaseFacts } from '../lib/demo/story.js';

interface Demo extends Answer {
  readonly plane: 'kernel' | 'model';
  readonly ok: boolean;
  readonly phases: readonly PhaseFacts[];
}

/** A shell's code for a command that SIGINT ended. */
const interrupted = 130;

export default class DemoCommand extends NityCommand<typeof DemoCommand> {
  static override summary =
    'The main job on this machine alone: backends, traffic, faults, a dead agent.';
  static override description =
    'Makes its own cgroup and pin path, six real TCP backends on loopback, a client that dials a ' +
    'service address, and an agent. Breaks one thing after another, counts every connect, and ' +
    'leaves nothing behind. Exits 1 if a phase did not go as it must.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --fast --json',
    '<%= config.bin %> <%= command.id %> --model',
  ];
  static override flags = {
    color: common.color,
    ...jsonFlag,
    fast: Flags.boolean({ summary: 'the whole story in under 45 seconds' }),
    model: Flags.boolean({ summary: 'on the model, without root or eBPF' }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const names = Array.from({ length: demoBackends }, (_, i) => `shop-${i + 1}`);
    // The story fits a minute only if the agent's death is noticed sooner than by default.
    const knobs = makeKnobs({ tau1Ms: 1000, tau2Ms: flags.fast ? 3000 : 5000 });
    const stop = new AbortController();
    const onSignal = () => {
      stop.abort();
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    const stage = flags.model ? new ModelStage(names, knobs) : await KernelStage.set(names, knobs);
    const view = new DemoView();
    let phases: PhaseFacts[];
    try {
      phases = await play(
        stage,
        story(stage, flags.fast, knobs.tau2Ms),
        stop.signal,
        (frame) => {
          view.frame(frame);
        },
        (facts) => {
          view.phase(facts);
        },
      );
    } finally {
      view.done();
      await stage.close();
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    }
    const ok = !stop.signal.aborted && phases.every((phase) => phase.ok);
    this.answer<Demo>({ schemaVersion: 1, plane: stage.plane, ok, phases }, render);
    process.exitCode = stop.signal.aborted ? interrupted : ok ? 0 : 1;
  }
}

function render({ phases, plane, ok }: Demo): string {
  const total = phases.reduce((sum, { connects }) => sum + connects, 0);
  const failed = phases.reduce((sum, phase) => sum + phase.failed, 0);
  const verdict = ok ? 'Everything went as it must.' : 'Something did not go as it must.';
  return `${renderFacts(phases)}\n\n${total} connects on the ${plane}, ${failed} failed. ${verdict}`;
}
