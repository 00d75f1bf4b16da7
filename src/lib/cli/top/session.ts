// The live view's life: a frame every interval, a picture for every frame and every
// key, until the operator quits or the dataplane is gone.
import { palette } from '../colour.js';
import { glyphsFor, inked } from './ink.js';
import { paint, paintOnce, routesThatFit } from './paint.js';
import type { TopFrame } from './frame.js';
import { Screen } from './screen.js';
import { press, type View } from './view.js';
import type { TopWatcher } from './watcher.js';

/** The first rates come soon, whatever the interval is. */
const firstMs = 300;

/** Lives until "quit"; rejects with what ended the watch. */
export async function liveTop(watcher: TopWatcher, first: View, intervalMs: number): Promise<void> {
  const chalk = palette('stdout');
  const glyphs = glyphsFor(process.env);
  let view = first;
  let frame = await watcher.frame(view.route);
  let timer: NodeJS.Timeout | undefined;
  const draw = () => {
    const { size } = screen;
    screen.draw(paint(frame, view, size).map((line) => inked(line, size.columns, chalk, glyphs)));
  };
  let end: (error?: Error) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => {
      if (error === undefined) resolve();
      else reject(error);
    };
  });
  const next = async () => {
    try {
      const fresh = view.frozen ? frame : await watcher.frame(view.route);
      // Frozen while it was asked for: the picture stays.
      if (!view.frozen) frame = fresh;
      draw();
      timer = setTimeout(() => void next(), intervalMs);
    } catch (error) {
      end(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const screen = new Screen(process.stdin, process.stdout, {
    key(key) {
      const pressed = press(view, key, frame, routesThatFit(screen.size));
      if (pressed === 'quit') {
        end();
        return;
      }
      view = pressed;
      draw();
    },
    resized: draw,
  });
  const stop = () => {
    end();
  };
  screen.open();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop);
  try {
    draw();
    timer = setTimeout(() => void next(), Math.min(firstMs, intervalMs));
    await ended;
  } finally {
    clearTimeout(timer);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
    screen.close();
  }
}

/** One picture, for a pipe. */
export function onceTop(frame: TopFrame, view: View, columns: number): string {
  const chalk = palette('stdout');
  const glyphs = glyphsFor(process.env);
  return paintOnce(frame, view, columns)
    .map((line) => inked(line, columns, chalk, glyphs).trimEnd())
    .join('\n');
}
