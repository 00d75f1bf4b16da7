// The way into a cluster as the agent finds it: by a thread of the build, which is gone when
// it has answered, and with files that others replace.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type * as Source from '../../src/lib/kubernetes/way-in.js';

const { findWayIn } = (await import(
  join(import.meta.dirname, '../../dist/lib/kubernetes/way-in.js')
)) as typeof Source;

describe('the way into a cluster', () => {
  let directory: string;
  let kubeconfig: string;
  const at = (name: string) => join(directory, name);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'nity-way-in-'));
    kubeconfig = at('kubeconfig');
    writeFileSync(at('ca.crt'), 'an authority');
  });

  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  function write(user: object, cluster: object = {}): void {
    const server = 'https://127.0.0.1:6443';
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'here',
      contexts: [{ name: 'here', context: { cluster: 'this', user: 'me' } }],
      clusters: [
        { name: 'this', cluster: { server, 'certificate-authority': at('ca.crt'), ...cluster } },
      ],
      users: [{ name: 'me', user }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
  }

  it('has the server, its authority and a token', async () => {
    write({ token: 'secret' }, { 'tls-server-name': 'api.internal' });
    const wayIn = await findWayIn({ kubeconfig });
    expect(wayIn.server.href).toBe('https://127.0.0.1:6443/');
    expect(wayIn.tlsServerName).toBe('api.internal');
    expect(await wayIn.options()).toEqual({
      ca: 'an authority',
      headers: { Authorization: 'Bearer secret' },
    });
  });

  it('has a certificate and its key, and a name and a password', async () => {
    const certificate = Buffer.from('a certificate').toString('base64');
    const key = Buffer.from('a key').toString('base64');
    write({ 'client-certificate-data': certificate, 'client-key-data': key });
    const byCertificate = await (await findWayIn({ kubeconfig })).options();
    expect(byCertificate).toMatchObject({ cert: 'a certificate', key: 'a key' });
    write({ username: 'me', password: 'word' });
    expect(await (await findWayIn({ kubeconfig })).options()).toMatchObject({ auth: 'me:word' });
  });

  it('has the token that its file has at each request', async () => {
    writeFileSync(at('token'), 'first\n');
    write({ 'auth-provider': { name: 'tokenFile', config: { tokenFile: at('token') } } });
    const wayIn = await findWayIn({ kubeconfig });
    const token = async () => (await wayIn.options()).headers;
    expect(await token()).toMatchObject({ Authorization: 'Bearer first' });
    writeFileSync(at('token'), 'second\n');
    expect(await token()).toMatchObject({ Authorization: 'Bearer second' });
    rmSync(at('token'));
    expect(await token()).toMatchObject({ Authorization: 'Bearer second' });
    rmSync(kubeconfig);
    expect(await token()).toMatchObject({ Authorization: 'Bearer second' });
  });

  it('has the authority that its file has now, and the last one while there is none', async () => {
    write({ token: 'secret' });
    const wayIn = await findWayIn({ kubeconfig });
    writeFileSync(at('ca.crt'), 'another authority');
    expect(await wayIn.options()).toMatchObject({ ca: 'another authority' });
    rmSync(at('ca.crt'));
    expect(await wayIn.options()).toMatchObject({ ca: 'another authority' });
  });

  it('asks a command for its token again when the last one has expired', async () => {
    const script = `n=$(cat ${at('calls')} 2>/dev/null || echo 0); n=$((n + 1)); echo $n > ${at('calls')}
      printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"made-%s","expirationTimestamp":"2001-01-01T00:00:00Z"}}' $n`;
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'sh',
      args: ['-c', script],
    };
    write({ exec });
    const wayIn = await findWayIn({ kubeconfig });
    const tokens = [await wayIn.options(), await wayIn.options()].map(({ headers }) =>
      JSON.stringify(headers),
    );
    expect(tokens[0]).toMatch(/made-\d/);
    expect(tokens[1]).not.toBe(tokens[0]);
  });

  it('goes through a proxy where one is named', async () => {
    write({ token: 'secret' }, { 'proxy-url': 'http://127.0.0.1:3128' });
    expect((await (await findWayIn({ kubeconfig })).options()).agent).toBeDefined();
    write({ token: 'secret' });
    expect((await (await findWayIn({ kubeconfig })).options()).agent).toBeUndefined();
  });

  it('says of a file that is broken where it is, and nothing of what stands there', async () => {
    writeFileSync(kubeconfig, 'users:\n- name: me\n  user:\n    token: secret\n   bad: indent\n');
    await expect(findWayIn({ kubeconfig })).rejects.toMatchObject({
      message: expect.stringMatching(/^The way .* cannot be read: .*\(\d+:\d+\)\.$/) as string,
    });
    const told = await findWayIn({ kubeconfig }).catch((error: unknown) => inspect(error));
    expect(told).not.toContain('secret');
  });

  it('knows a cluster by any name', async () => {
    write({ token: 'secret' });
    const named = readFileSync(kubeconfig, 'utf8').replaceAll('"this"', '"cluster"');
    writeFileSync(kubeconfig, named);
    expect((await findWayIn({ kubeconfig })).server.port).toBe('6443');
  });

  it.each([
    [
      'a file that is not there',
      () => undefined,
      /^The way into the cluster cannot be read: ENOENT/,
    ],
    [
      'no YAML',
      () => {
        writeFileSync(kubeconfig, '{{');
      },
      /^The way into the cluster cannot be read: /,
    ],
    [
      'a server that is no URL',
      () => {
        write({}, { server: 'nowhere' });
      },
      /server nowhere is no URL/,
    ],
  ])('is refused for %s, with a hint', async (_what, prepare, message) => {
    prepare();
    await expect(findWayIn({ kubeconfig })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringMatching(message) as string,
      hint: expect.stringMatching(/\.$/) as string,
    });
  });
});
