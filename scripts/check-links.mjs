// Says which links in the Markdown files lead nowhere in this repository: a file
// that is not there, or a heading that is not in it. The network is not asked.
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const rooms = ['docs', 'deploy', 'bench', 'test'];

function markdownFiles() {
  const within = (room) =>
    existsSync(join(root, room))
      ? readdirSync(join(root, room), { recursive: true }).map((name) => join(root, room, name))
      : [];
  return [...readdirSync(root).map((name) => join(root, name)), ...rooms.flatMap(within)].filter(
    (file) => file.endsWith('.md'),
  );
}

/** Code is shown, not followed. */
const prose = (text) => text.replaceAll(/^(```|~~~)[^]*?^\1/gm, '').replaceAll(/`[^`\n]*`/g, '');

/** The anchors of a page: those that GitHub gives its headings, and those it sets itself. */
function anchorsOf(file) {
  const anchors = new Set();
  const text = readFileSync(file, 'utf8').replaceAll(/^(```|~~~)[^]*?^\1/gm, '');
  for (const [, heading] of text.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  for (const [, id] of text.matchAll(/\b(?:id|name)="([^"]+)"/g)) anchors.add(id);
  return anchors;
}

function linksOf(file) {
  const text = prose(readFileSync(file, 'utf8'));
  const inline = text.matchAll(/\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/g);
  const references = text.matchAll(/^\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)/gm);
  return [...inline, ...references].map(([, link]) => link);
}

/** What is wrong with a link, or undefined. */
function faultOf(file, link) {
  if (/^[a-z][a-z+.-]*:/i.test(link)) return undefined;
  const [path, anchor] = link.split('#').map(decodeURIComponent);
  const target = path === '' ? file : join(path.startsWith('/') ? root : dirname(file), path);
  if (!existsSync(target)) return 'there is no such file';
  if (!anchor || !target.endsWith('.md') || statSync(target).isDirectory()) return undefined;
  return anchorsOf(target).has(anchor) ? undefined : 'there is no such heading';
}

let broken = 0;
for (const file of markdownFiles()) {
  for (const link of linksOf(file)) {
    const fault = faultOf(file, link);
    if (fault === undefined) continue;
    console.error(`${relative(root, file)}: ${link}: ${fault}`);
    broken++;
  }
}
process.exit(broken === 0 ? 0 : 1);
