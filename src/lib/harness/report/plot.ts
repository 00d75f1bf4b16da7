// Plots as SVG text: lines and stacked areas over the run's time, with the scenario's
// faults behind them. For files that people open; nothing here knows a terminal.
import { scaleLinear, scaleLog } from 'd3-scale';
import { area, line, stack } from 'd3-shape';

import type { Mark } from '../result.js';

const width = 880;
const height = 300;
const margin = { top: 34, right: 150, bottom: 34, left: 64 };
/** Okabe and Ito's colours, which the colour-blind can tell apart; ours is the black one. */
const colours = [
  '#000000',
  '#e69f00',
  '#56b4e9',
  '#009e73',
  '#cc79a7',
  '#0072b2',
  '#d55e00',
  '#999999',
];

export interface Series {
  readonly name: string;
  /** One value for each time; null: a gap. */
  readonly values: readonly (number | null)[];
}

export interface Frame {
  readonly title: string;
  readonly unit: string;
  readonly durationMs: number;
  /** The middle of each window. */
  readonly timesMs: readonly number[];
  readonly marks: readonly Mark[];
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const colourOf = (i: number) => colours[i % colours.length] ?? '#000000';

function xScale({ durationMs }: Frame) {
  return scaleLinear([0, durationMs / 1000], [margin.left, width - margin.right]);
}

const bottom = height - margin.bottom;

function faults(frame: Frame): string {
  const x = xScale(frame);
  return frame.marks
    .map(({ atMs, toMs, text }) => {
      const from = x(atMs / 1000);
      const span = Math.max(1, x(Math.min(toMs ?? atMs, frame.durationMs) / 1000) - from);
      return `<rect x="${from.toFixed(1)}" y="${margin.top}" width="${span.toFixed(1)}" height="${bottom - margin.top}" fill="#d55e00" opacity="0.10"><title>${escaped(text)}</title></rect>`;
    })
    .join('');
}

/** Where faults begin and end, over what would hide them. */
function edges(frame: Frame): string {
  const x = xScale(frame);
  const times = frame.marks.flatMap(({ atMs, toMs }) => (toMs === null ? [atMs] : [atMs, toMs]));
  return times
    .filter((ms) => ms <= frame.durationMs)
    .map((ms) => x(ms / 1000).toFixed(1))
    .map(
      (at) =>
        `<line x1="${at}" x2="${at}" y1="${margin.top}" y2="${bottom}" stroke="#000" stroke-dasharray="4 3"/>`,
    )
    .join('');
}

function axes(frame: Frame, ticks: readonly number[], y: (value: number) => number): string {
  const x = xScale(frame);
  const across = ticks.map((tick) => {
    const at = y(tick).toFixed(1);
    return (
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}" stroke="#ddd"/>` +
      `<text x="${margin.left - 6}" y="${at}" dy="0.32em" text-anchor="end">${tick}</text>`
    );
  });
  const down = x.ticks(8).map((tick) => {
    const at = x(tick).toFixed(1);
    return `<text x="${at}" y="${bottom + 16}" text-anchor="middle">${tick} s</text>`;
  });
  return [...across, ...down].join('');
}

function legend(names: readonly string[]): string {
  return names
    .map((name, i) => {
      const y = margin.top + 10 + i * 17;
      return (
        `<rect x="${width - margin.right + 10}" y="${y - 5}" width="12" height="10" fill="${colourOf(i)}"/>` +
        `<text x="${width - margin.right + 28}" y="${y}" dy="0.32em">${escaped(name)}</text>`
      );
    })
    .join('');
}

function svg(frame: Frame, parts: readonly string[]): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">` +
    `<rect width="${width}" height="${height}" fill="#fff"/>` +
    `<text x="${margin.left}" y="18" font-size="14" font-weight="bold">${escaped(frame.title)}</text>` +
    `<text x="${margin.left - 6}" y="${margin.top - 8}" text-anchor="end" fill="#555">${escaped(frame.unit)}</text>` +
    `${parts.join('')}</svg>\n`
  );
}

/** One line for each series; `log` for what spans several powers of ten. */
export function lines(frame: Frame, all: readonly Series[], log: boolean): string {
  const values = all.flatMap(({ values: each }) => each).filter((value) => value !== null);
  const most = Math.max(...values, log ? 1 : 0) || 1;
  const least = Math.min(...values.filter((value) => value > 0), most);
  const range = [bottom, margin.top];
  const y = log
    ? scaleLog([least / 1.2, most * 1.2], range).clamp(true)
    : scaleLinear([0, most * 1.05], range);
  // Of a logarithmic scale's many ticks, those of 1, 2 and 5.
  const ticks = y.ticks(5).filter((tick) => !log || /^[125]/.test(tick.toExponential()));
  const x = xScale(frame);
  const paths = all.map(({ values: each }, i) => {
    const path = line<number | null>()
      .defined((value) => value !== null)
      .x((_, k) => x((frame.timesMs[k] ?? 0) / 1000))
      .y((value) => y(Math.max(value ?? 0, log ? least : 0)))(each);
    return `<path d="${path ?? ''}" fill="none" stroke="${colourOf(i)}" stroke-width="${i === 0 ? 2.2 : 1.3}"/>`;
  });
  return svg(frame, [
    faults(frame),
    axes(frame, ticks, (value) => y(value)),
    // The first is drawn last, over the others.
    ...paths.reverse(),
    legend(all.map(({ name }) => name)),
  ]);
}

/** Shares of a whole, one above the other. */
export function shares(frame: Frame, all: readonly Series[]): string {
  const rows = frame.timesMs.map((_, k) => {
    const values = all.map(({ values: each }) => each[k] ?? 0);
    const sum = values.reduce((a, b) => a + b, 0) || 1;
    return values.map((value) => value / sum);
  });
  const x = xScale(frame);
  const y = scaleLinear([0, 1], [bottom, margin.top]);
  const layers = stack<number[], number>()
    .keys(all.map((_, i) => i))
    .value((row, key) => row[key] ?? 0)(rows);
  const paths = layers.map((layer, i) => {
    const path = area<(typeof layer)[number]>()
      .x((_, k) => x((frame.timesMs[k] ?? 0) / 1000))
      .y0(([low]) => y(low))
      .y1(([, high]) => y(high))([...layer]);
    return `<path d="${path ?? ''}" fill="${colourOf(i + 1)}" opacity="0.85" stroke="#fff" stroke-width="0.5"/>`;
  });
  const named = all.length <= 14 ? ['', ...all.map(({ name }) => name)] : [];
  return svg(frame, [
    ...paths,
    edges(frame),
    axes(frame, [0, 0.25, 0.5, 0.75, 1], (value) => y(value)),
    legend(named).replace(/^<rect[^>]*>(<text[^>]*><\/text>)?/, ''),
  ]);
}
