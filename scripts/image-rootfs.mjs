// Assembles the image's file system without a registry or a daemon: follows the last stage of
// the Dockerfile instruction by instruction, on a Debian root from debootstrap with the Node
// that the stage's base image names. Prints how the image is run, as JSON. Needs root.
//
//   node scripts/image-rootfs.mjs DIRECTORY
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DockerfileParser } from 'dockerfile-ast';

const checkout = fileURLToPath(new URL('..', import.meta.url));
const cache = process.env['NITY_IMAGE_CACHE'] ?? '/var/cache/nity-image';
/** The newest of a line when this was written: a test must not change by itself. */
const nodeVersions = { 24: '24.21.0' };

function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${error.stderr ?? error.message}`, {
      cause: error,
    });
  }
}

/** The instructions of the last stage, without its FROM, and the base image that this names. */
function lastStage() {
  const text = readFileSync(join(checkout, 'deploy/docker/Dockerfile'), 'utf8');
  const all = DockerfileParser.parse(text).getInstructions();
  const at = all.findLastIndex((one) => one.getKeyword() === 'FROM');
  return { image: all[at].getArguments()[0].getValue(), instructions: all.slice(at + 1) };
}

const shell = (instruction) => ['sh', '-euc', instruction.getArgumentsContent()];

/** Files below a fresh Debian root that stand for the base image and the stage's RUNs. */
function baseOf({ image, instructions }) {
  const [, major, suite] = /^node:(\d+)-([a-z]+)-slim$/.exec(image) ?? [];
  const version = nodeVersions[major];
  if (version === undefined) throw new Error(`${image} is no image that can be stood for here`);
  const runs = instructions.filter((one) => one.getKeyword() === 'RUN').map(shell);
  const key = createHash('sha256')
    .update(JSON.stringify([suite, version, runs]))
    .digest('hex');
  const base = join(cache, `base-${key.slice(0, 16)}`);
  if (existsSync(base)) return base;

  mkdirSync(cache, { recursive: true });
  const making = mkdtempSync(join(cache, 'making-'));
  try {
    const root = join(making, 'root');
    run('debootstrap', ['--variant=minbase', '--include=ca-certificates', suite, root]);
    const node = `node-linux-${process.arch}@${version}`;
    run('npm', ['pack', '--silent', '--pack-destination', making, node]);
    const packed = join(making, `node-linux-${process.arch}-${version}.tgz`);
    run('tar', [
      '-xzf',
      packed,
      '-C',
      join(root, 'usr/local'),
      '--strip-components=1',
      'package/bin',
    ]);
    for (const one of runs) run('chroot', [root, ...one]);
    renameSync(root, base);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return base;
}

function copy(instruction, root) {
  const from = instruction.getFlags().find((flag) => flag.getName() === 'from');
  const [source, target] = instruction.getArguments().map((one) => one.getValue());
  const place = join(root, target);
  if (from === undefined) {
    mkdirSync(dirname(place), { recursive: true });
    cpSync(join(checkout, source), place, { recursive: true });
  } else if (from.getValue() === 'build' && source === '/app') {
    // What the build stage ends with, done by the same script on this checkout.
    run(join(checkout, 'scripts/image-app.sh'), [place]);
  } else throw new Error(`COPY --from=${from.getValue()} ${source} cannot be done here`);
}

function assemble(root) {
  const stage = lastStage();
  const base = baseOf(stage);
  mkdirSync(dirname(root), { recursive: true });
  run('cp', ['-a', '--reflink=auto', base, root]);
  const image = { entrypoint: [], cmd: [], user: '0', environment: {} };
  for (const one of stage.instructions) {
    const keyword = one.getKeyword();
    if (keyword === 'COPY') copy(one, root);
    else if (keyword === 'ENTRYPOINT') image.entrypoint = JSON.parse(one.getArgumentsContent());
    else if (keyword === 'CMD') image.cmd = JSON.parse(one.getArgumentsContent());
    else if (keyword === 'USER') image.user = one.getArgumentsContent();
    else if (keyword === 'ENV') {
      for (const property of one.getProperties()) {
        image.environment[property.getName()] = property.getValue();
      }
    } else if (keyword !== 'RUN') throw new Error(`${keyword} is not understood here`);
  }
  return image;
}

const [directory] = process.argv.slice(2);
if (directory === undefined) {
  process.stderr.write(`usage: node scripts/${basename(import.meta.filename)} DIRECTORY\n`);
  process.exit(2);
}
process.stdout.write(`${JSON.stringify(assemble(resolve(directory)))}\n`);
