// A command in a terminal of a given size: a real pseudo-terminal, made by script(1), read by
// an emulator, so that a test sees what a person would.
import xterm from '@xterm/headless';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

import { until } from '../kernel/rig.js';

const cli = join(import.meta.dirname, '../../bin/run.js');

export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  readonly environment: NodeJS.ProcessEnv;
  /** Words before the command: a program that runs it in its own circumstances. */
  readonly under?: readonly string[];
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export class NityTerminal {
  private readonly screen: InstanceType<typeof xterm.Terminal>;
  private readonly child: ChildProcess;
  /** All that was written, escapes and all. */
  written = '';

  constructor(
    args: readonly string[],
    { columns, rows, environment, under = [] }: TerminalOptions,
  ) {
    this.screen = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });
    const command = [...under, process.execPath, cli, ...args].map(quoted).join(' ');
    this.child = spawn(
      'script',
      ['-qfec', `stty cols ${columns} rows ${rows}; exec ${command}`, '/dev/null'],
      {
        env: { ...environment, TERM: 'xterm-256color', LC_ALL: 'C.UTF-8' },
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    this.child.stdout?.on('data', (bytes: Buffer) => {
      this.written += bytes.toString();
      this.screen.write(bytes);
    });
  }

  /** What is on the screen, without the spaces at the ends of lines. */
  get lines(): string[] {
    const { active } = this.screen.buffer;
    return Array.from(
      { length: this.screen.rows },
      (_, i) => active.getLine(active.viewportY + i)?.translateToString(true) ?? '',
    );
  }

  get text(): string {
    return this.lines.join('\n');
  }

  /** Any cell in another colour than the terminal's own, or bold. */
  get coloured(): boolean {
    const { active } = this.screen.buffer;
    for (let row = 0; row < this.screen.rows; row++) {
      const line = active.getLine(active.viewportY + row);
      for (let column = 0; column < this.screen.cols; column++) {
        const cell = line?.getCell(column);
        if (cell !== undefined && (!cell.isFgDefault() || cell.isBold() !== 0)) return true;
      }
    }
    return false;
  }

  press(keys: string): void {
    this.child.stdin?.write(keys);
  }

  async shows(pattern: RegExp): Promise<void> {
    try {
      await until(() => pattern.test(this.text));
    } catch {
      throw new Error(`expected ${String(pattern)}, but the terminal shows\n${this.text}`);
    }
  }

  resize(columns: number, rows: number): void {
    this.screen.resize(columns, rows);
    execFileSync('stty', ['-F', this.device(), 'cols', String(columns), 'rows', String(rows)]);
  }

  /** The exit code, once it ends by itself. */
  async ended(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  /** Where the command's own end of the terminal is. */
  private device(): string {
    const pid = String(this.child.pid);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return readlinkSync(`/proc/${children.split(' ')[0] ?? ''}/fd/0`);
  }
}
