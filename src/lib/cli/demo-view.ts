// How the demo looks: a live picture on a terminal, one line a phase elsewhere,
// and a table of counted facts at the end.
import { createLogUpdate } from 'log-update';

import type { Frame, PhaseFacts } from '../demo/story.js';
import { palette } from './colour.js';
import { showDuration } from './duration.js';
import { bar, renderTable } from './table.js';

const barWidth = 24;

export class DemoView {
  private readonly live = process.stderr.isTTY;
  private readonly draw = createLogUpdate(process.stderr);
  private told = '';

  frame(frame: Frame): void {
    if (this.told !== frame.phase.name) {
      this.told = frame.phase.name;
      if (!this.live) process.stderr.write(`${frame.phase.name}: ${frame.phase.narration}\n`);
    }
    if (this.live) this.draw(this.picture(frame));
  }

  phase(facts: PhaseFacts): void {
    if (!this.live) return;
    const { green, red } = palette('stderr');
    this.draw.clear();
    process.stderr.write(`${facts.ok ? green('✓') : red('✗')} ${describe(facts)}\n`);
  }

  done(): void {
    if (this.live) this.draw.clear();
  }

  private picture({ phase, now, elapsedMs, recent }: Frame): string {
    const { bold, dim, cyan, yellow, red } = palette('stderr');
    const total = now.backends.reduce((sum, { slots }) => sum + slots, 0);
    const fallback = now.failsafeMode === 'fallback';
    const rows = now.backends.map(({ name, slots, state, open }) => {
      const mine = recent.filter(({ answer }) => answer === name);
      const meanMs = mine.reduce((sum, { latencyMs }) => sum + latencyMs, 0) / mine.length;
      const paint = state === 'isolated' ? red : state === 'degraded' ? yellow : cyan;
      const share = total === 0 ? 0 : slots / total;
      return [
        name.padEnd(8),
        paint(bar(share * 2, barWidth)),
        `${slots} slots`.padStart(9),
        `${mine.length}/s`.padStart(7),
        (mine.length === 0 ? '-' : `${meanMs.toFixed(1)} ms`).padStart(9),
        `${open} open`.padStart(8),
        ` ${paint(state)}`,
      ].join(' ');
    });
    const failed = recent.filter(({ answer }) => answer === null).length;
    const mode = now.failsafeMode === 'normal' ? 'normal' : yellow(now.failsafeMode.toUpperCase());
    return [
      `${bold(phase.name)}  ${phase.narration}`,
      dim(`${showDuration(elapsedMs)} of ${showDuration(phase.durationMs)}`),
      '',
      ...rows,
      '',
      `epoch ${now.epoch}   failsafe ${mode}   heartbeat ${showDuration(now.heartbeatAgeMs)}   ` +
        `${recent.length} connects/s, ${failed === 0 ? 'none failed' : red(`${failed} failed`)}` +
        (fallback ? dim('   (slots rest: connects follow the fallback set)') : ''),
    ].join('\n');
  }
}

function failsafe({ failsafeMs }: PhaseFacts): string {
  return (['hold', 'fallback'] as const)
    .flatMap((mode) => {
      const at = failsafeMs[mode];
      return at === undefined ? [] : [`${mode.toUpperCase()} after ${showDuration(at)}`];
    })
    .join(', ');
}

function describe(facts: PhaseFacts): string {
  const shift = facts.shiftMs === null ? '' : `, shifted in ${showDuration(facts.shiftMs)}`;
  const modes = failsafe(facts);
  return `${facts.name}: ${facts.connects} connects, ${facts.failed} failed${shift}${modes === '' ? '' : `, ${modes}`}`;
}

/** The counted facts, as a table. */
export function renderFacts(phases: readonly PhaseFacts[]): string {
  const backends = Object.keys(phases[0]?.perBackend ?? {});
  return renderTable(
    phases,
    [
      { head: 'PHASE', cell: ({ name }) => name },
      { head: 'CONNECTS', align: 'right', cell: ({ connects }) => connects },
      { head: 'FAILED', align: 'right', cell: ({ failed }) => failed },
      { head: 'MISROUTED', align: 'right', cell: ({ misrouted }) => misrouted },
      ...backends.map((backend) => ({
        head: backend,
        align: 'right' as const,
        cell: ({ perBackend }: PhaseFacts) => perBackend[backend] ?? 0,
      })),
      {
        head: 'SHIFTED IN',
        align: 'right',
        cell: ({ shiftMs }) => (shiftMs === null ? null : showDuration(shiftMs)),
      },
      { head: 'FAILSAFE', cell: (facts) => failsafe(facts) || null },
      { head: 'OK', cell: ({ ok }) => (ok ? 'yes' : 'NO') },
    ],
    { headers: true, wide: true },
  );
}
