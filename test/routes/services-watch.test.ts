// Watching a services file: good changes arrive, broken ones are told, and
// however the file is replaced, it is seen.
import { mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { InputError } from '../../src/lib/errors.js';
import { ServicesWatch } from '../../src/lib/routes/services-watch.js';

const file = (port: number) => `services:
  - name: a/b
    vip: 127.96.0.1
    ports: [{ port: 80 }]
    backends: [{ address: 127.0.0.1, port: ${port} }]
`;

describe('a watched services file', () => {
  let directory: string;
  let path: string;
  let watch: ServicesWatch;
  const changed = vi.fn();
  const broken = vi.fn();

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'nity-watch-'));
    path = join(directory, 'services.yaml');
    writeFileSync(path, file(1));
    changed.mockReset();
    broken.mockReset();
    watch = new ServicesWatch(path, { changed, broken });
  });

  afterEach(() => {
    watch.close();
    rmSync(directory, { recursive: true });
  });

  it('sees a change in place and a replacement by rename', async () => {
    writeFileSync(path, file(2));
    await vi.waitFor(() => {
      expect(changed).toHaveBeenCalledTimes(1);
    }, 5000);
    writeFileSync(`${path}.new`, file(3));
    renameSync(`${path}.new`, path);
    await vi.waitFor(() => {
      expect(changed).toHaveBeenCalledTimes(2);
    }, 5000);
    expect(changed.mock.lastCall?.[0]).toMatchObject([{ backends: [{ port: 3 }] }]);
  });

  it('tells a broken edit once, and takes the next good one', async () => {
    writeFileSync(path, 'services: [');
    await vi.waitFor(() => {
      expect(broken).toHaveBeenCalled();
    }, 5000);
    writeFileSync(path, file(4));
    await vi.waitFor(() => {
      expect(changed).toHaveBeenCalledTimes(1);
    }, 5000);
    expect(broken).toHaveBeenCalledTimes(1);
  });

  it('survives the file going away', async () => {
    unlinkSync(path);
    await vi.waitFor(() => {
      expect(broken).toHaveBeenCalled();
    }, 5000);
    writeFileSync(path, file(5));
    await vi.waitFor(() => {
      expect(changed).toHaveBeenCalled();
    }, 5000);
  });

  it('refuses to begin with a broken file', () => {
    const other = join(directory, 'other.yaml');
    writeFileSync(other, 'nonsense');
    expect(() => new ServicesWatch(other, { changed, broken })).toThrow(InputError);
  });
});
