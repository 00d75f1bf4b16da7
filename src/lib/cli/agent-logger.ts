// The agent's log: one line an event on stderr, time first.
import type { AgentLog } from '../agent/log.js';
import { palette } from './colour.js';

export class AgentLogger implements AgentLog {
  constructor(private readonly level: 'info' | 'warn') {}

  private write(level: string, message: string): void {
    process.stderr.write(`${new Date().toISOString()} ${level} ${message}\n`);
  }

  info(message: string): void {
    if (this.level === 'info') this.write('info', message);
  }

  warn(message: string): void {
    this.write(palette('stderr').yellow('warn'), message);
  }
}
