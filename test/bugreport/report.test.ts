// A masked report of an agent that follows a cluster: no name of the cluster's is in it, be it
// served or not.
import { describe, expect, it } from 'vitest';

import { json } from '../../src/lib/bugreport/gathering.js';
import { assemble } from '../../src/lib/bugreport/report.js';
import { healthyFollowing, healthyPlane } from '../doctor/healthy.js';

const cluster = {
  ...healthyFollowing,
  server: 'https://api.heron.example:6443',
  node: 'egret-7',
  watches: healthyFollowing.watches.map((watch) => ({
    ...watch,
    problem: 'getaddrinfo ENOTFOUND api.heron.example',
  })),
  skipped: [
    { service: 'plover/dunlin', port: 'dns', address: null, reason: 'protocol', detail: 'UDP' },
    { service: 'default/kubernetes', port: 'https', address: null, reason: 'agentApi', detail: '' },
  ],
  progress: { 'avocet/curlew': { pendingMs: 12, programmingMs: null } },
};
const agent = { ...healthyPlane.agent, cluster };
const parts = [
  {
    path: 'observed.json',
    about: 'what was seen',
    content: json({ plane: { kind: 'read', value: { ...healthyPlane, agent } }, progress: null }),
  },
  {
    path: 'knobs.json',
    about: 'the knobs',
    content: json({ origin: { tickMs: { kind: 'default', where: 'default' } } }),
  },
];

const names = ['heron', 'egret', 'plover', 'dunlin', 'avocet', 'curlew'];

function textOf(redact: boolean): string {
  const options = { nity: '1.2.3', madeAt: new Date(0), redact };
  const { files } = assemble({ parts, missing: [] }, options);
  return files.map(({ bytes }) => bytes.toString()).join('\n');
}

describe('a report of an agent that follows a cluster', () => {
  it('has all that it says of it', () => {
    const text = textOf(false);
    for (const name of names) expect(text).toContain(name);
  });

  it('has no name of it when it is masked', () => {
    const text = textOf(true);
    expect(names.filter((name) => text.includes(name))).toEqual([]);
    expect(text).toMatch(/"service": "name-\d+\/name-\d+"/);
    expect(text).toContain('"service": "default/kubernetes"');
    expect(text).toMatch(/"kind": "default",\s+"where": "default"/);
    expect(text).toMatch(/"server": "https:\/\/host-\d+:6443"/);
  });
});
