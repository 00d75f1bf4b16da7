// The series of every run as one table: a row for each window, so that any tool can draw it.
import { ends } from '../balancer.js';
import type { Comparison, RunResult, Window } from '../result.js';

const quoted = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function row(run: RunResult, window: Window): (string | number | null)[] {
  const { scenario, policy, seed } = run;
  return [
    scenario,
    policy,
    seed,
    window.fromMs,
    window.toMs,
    window.requests,
    ...ends.map((end) => window.ends[end]),
    window.p50Ms,
    window.p99Ms,
    window.p999Ms,
    window.admissionMode,
    window.regime,
    ...window.picks,
    ...(window.slots ?? run.backends.map(() => null)),
  ];
}

export function csvOf({ runs }: Comparison): string {
  const backends = runs[0]?.backends ?? [];
  const head = [
    'scenario',
    'policy',
    'seed',
    'from_ms',
    'to_ms',
    'requests',
    ...ends.map((end) => end.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
    'p50_ms',
    'p99_ms',
    'p999_ms',
    'admission_mode',
    'regime',
    ...backends.map((name) => `picks_${name}`),
    ...backends.map((name) => `slots_${name}`),
  ];
  const rows = runs.flatMap((run) => run.series.map((window) => row(run, window)));
  return `${[head, ...rows]
    .map((cells) => cells.map((cell) => quoted(String(cell ?? ''))).join(','))
    .join('\n')}\n`;
}
