// The demo's client, a process of its own inside the demo's cgroup: it dials the
// service address at a steady rate and notes who answered.
import { connect } from 'node:net';

import { connectsPerSecond, demoPort, demoVip } from './stage.js';

export interface ClientResult {
  /** On the clock that all processes of the node share, in milliseconds. */
  readonly atMs: number;
  readonly answer: string | null;
  readonly latencyMs: number;
}

const timeoutMs = 1000;
const everyMs = 20;

let results: ClientResult[] = [];

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function dial(): void {
  const startMs = nowMs();
  let answer = '';
  let failed = false;
  const socket = connect({ host: demoVip, port: demoPort });
  socket.write('who?');
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error('timeout')));
  socket.on('data', (bytes) => (answer += bytes.toString()));
  socket.on('error', () => (failed = true));
  socket.on('close', () => {
    const atMs = nowMs();
    results.push({
      atMs,
      answer: failed || answer === '' ? null : answer,
      latencyMs: atMs - startMs,
    });
  });
}

let due = 0;
let begun = 0;

function beat(): void {
  const elapsed = nowMs() - begun;
  for (; due < (elapsed / 1000) * connectsPerSecond; due++) dial();
  if (results.length === 0) return;
  process.send?.(results);
  results = [];
}

process.once('message', () => {
  begun = nowMs();
  setInterval(beat, everyMs);
});
process.on('disconnect', () => process.exit(0));
process.send?.([]);
