// Writes share/man/man1/nity.1 from the manifest. With --check it only says
// whether the page is stale. Reads the built catalogue, so build first.
import { fileURLToPath } from 'node:url';

import { manPage } from '../dist/lib/cli/man-page.js';
import { readCatalogue } from '../dist/lib/cli/catalogue.js';
import { keep } from './generated-file.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
await keep('share/man/man1/nity.1', manPage(readCatalogue(root)), null);
