// As much of kustomize as deploy/kustomize uses: resources, components, JSON patches, images and
// labels. It refuses what it does not know, and is compared with kustomize itself where that is.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';

export const root = join(import.meta.dirname, '../../deploy/kustomize');

const objectSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
});
export type KubernetesObject = z.infer<typeof objectSchema>;

const patchSchema = z.array(
  z.discriminatedUnion('op', [
    z.strictObject({ op: z.literal('add'), path: z.string(), value: z.unknown() }),
    z.strictObject({ op: z.literal('remove'), path: z.string() }),
  ]),
);

const kustomizationSchema = z.strictObject({
  apiVersion: z.string(),
  kind: z.enum(['Kustomization', 'Component']),
  namespace: z.literal('nity-system').optional(),
  resources: z.array(z.string()).default([]),
  components: z.array(z.string()).default([]),
  labels: z.array(z.strictObject({ pairs: z.record(z.string(), z.string()) })).default([]),
  images: z
    .array(z.strictObject({ name: z.string(), newName: z.string(), newTag: z.string() }))
    .default([]),
  patches: z
    .array(
      z.strictObject({
        target: z.strictObject({ kind: z.string(), name: z.string() }),
        patch: z.string(),
      }),
    )
    .default([]),
});

/** What `kustomize build DIRECTORY` would print, and `components` on top of it. */
export function build(directory: string, components: readonly string[] = []): KubernetesObject[] {
  return apply(directory, [], components);
}

function apply(
  directory: string,
  before: readonly KubernetesObject[],
  more: readonly string[] = [],
): KubernetesObject[] {
  const file = join(directory, 'kustomization.yaml');
  const { resources, components, labels, images, patches } = kustomizationSchema.parse(
    parse(readFileSync(file, 'utf8')),
  );
  let objects = [...before, ...resources.flatMap((name) => read(join(directory, name)))];
  for (const component of [...components.map((name) => join(directory, name)), ...more]) {
    objects = apply(component, objects);
  }
  for (const { target, patch } of patches) {
    const found = objects.filter(
      ({ kind, metadata }) => kind === target.kind && metadata.name === target.name,
    );
    if (found.length !== 1) throw new Error(`${file}: a patch finds ${found.length} objects`);
    for (const change of patchSchema.parse(parse(patch)))
      found.forEach((one) => {
        alter(one, change);
      });
  }
  for (const { pairs } of labels) {
    for (const { metadata } of objects) {
      metadata['labels'] = { ...(metadata['labels'] as object | undefined), ...pairs };
    }
  }
  for (const { name, newName, newTag } of images) rename(objects, name, `${newName}:${newTag}`);
  return objects;
}

function read(path: string): KubernetesObject[] {
  if (!path.endsWith('.yaml')) return build(path);
  return parseAllDocuments(readFileSync(path, 'utf8')).map((document) =>
    objectSchema.parse(document.toJS()),
  );
}

/** RFC 6902: the last part of a path is set in, or taken from, what the others lead to. */
function alter(object: unknown, change: z.infer<typeof patchSchema>[number]): void {
  const parts = change.path.split('/').slice(1);
  const last = parts.pop() ?? '';
  let at = object;
  for (const part of parts) at = (at as Record<string, unknown>)[part];
  if (typeof at !== 'object' || at === null) throw new Error(`${change.path} leads nowhere`);
  if (change.op === 'remove') {
    if (!(last in at)) throw new Error(`${change.path} is not there to be removed`);
    Reflect.deleteProperty(at, last);
  } else if (Array.isArray(at) && last === '-') at.push(change.value);
  else Reflect.set(at, last, change.value);
}

function rename(value: unknown, name: string, image: string): void {
  if (typeof value !== 'object' || value === null) return;
  if ('image' in value && value.image === name) Reflect.set(value, 'image', image);
  for (const inner of Object.values(value)) rename(inner, name, image);
}
