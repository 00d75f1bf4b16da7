// What the owner of a Service may fix of its routes, as annotations below nity.dev/. One
// that is wrong is told and ignored, and the others hold.
import { closest, distance } from 'fastest-levenshtein';
import { z } from 'zod';

import { enforceForm, readEnforce } from '../routes/enforce.js';
import type { RouteKnobs } from '../routes/route-set.js';
import { annotationPrefix } from './objects.js';

/** One annotation that was ignored, and why, as a sentence. */
export interface WrongAnnotation {
  readonly name: string;
  /** What it would have fixed; null for one that is not known. */
  readonly knob: keyof RouteKnobs | null;
  readonly why: string;
}

export interface Annotated {
  readonly knobs: RouteKnobs;
  readonly wrong: readonly WrongAnnotation[];
}

const leastSlots = 64;
const mostSlots = 65_536;
const mostReferenceMs = 60_000;
const aReference = 'expected a time such as 20ms or 1.5s, of 0.1ms to 60s';

/** By the name of the annotation. */
const schemas = {
  mode: z.enum(['auto', 'normal', 'soft', 'hard'], 'expected auto, normal, soft or hard'),
  gear: z.enum(['auto', 'single', 'twin'], 'expected auto, single or twin'),
  slots: z
    .string()
    .regex(/^\d{1,6}$/, `expected a power of two from ${leastSlots} to ${mostSlots}`)
    .transform(Number)
    .refine(
      (slots) => slots >= leastSlots && slots <= mostSlots && Number.isInteger(Math.log2(slots)),
      `expected a power of two from ${leastSlots} to ${mostSlots}`,
    ),
  'latency-reference': z
    .string()
    .regex(/^\d{1,6}(\.\d{1,3})?(ms|s)$/, aReference)
    .transform((time) => Number.parseFloat(time) * (time.endsWith('ms') ? 1 : 1000))
    .refine((ms) => ms >= 0.1 && ms <= mostReferenceMs, aReference),
  enforce: z.string().transform((text, context) => {
    const percent = readEnforce(text);
    if (percent !== undefined) return percent;
    context.addIssue({ code: 'custom', message: enforceForm });
    return z.NEVER;
  }),
} as const;

const knobOf = {
  mode: 'mode',
  gear: 'gear',
  slots: 'slots',
  'latency-reference': 'latencyReferenceMs',
  enforce: 'enforcePercent',
} as const satisfies Record<keyof typeof schemas, keyof RouteKnobs>;

const names = Object.keys(schemas);
/** An annotation may have 256 KiB; an Event need not repeat them. */
const shownCharacters = 40;

function shown(value: string): string {
  return value.length > shownCharacters ? `${value.slice(0, shownCharacters)}…` : value;
}

function unknown(name: string): string {
  const nearest = closest(name, names);
  const meant = distance(name, nearest) <= 2 ? ` Did you mean ${annotationPrefix}${nearest}?` : '';
  return `${annotationPrefix}${shown(name)} is not known; ${names.join(', ')} are.${meant}`;
}

function isKnown(name: string): name is keyof typeof schemas {
  return Object.hasOwn(schemas, name);
}

/** Reads the annotations of a Service, by their names below nity.dev/. */
export function readAnnotations(annotations: ReadonlyMap<string, string>): Annotated {
  const wrong: WrongAnnotation[] = [];
  const knobs: Record<string, unknown> = {};
  for (const [name, value] of annotations) {
    if (!isKnown(name)) {
      wrong.push({ name, knob: null, why: unknown(name) });
      continue;
    }
    const parsed = schemas[name].safeParse(value);
    if (parsed.success) knobs[knobOf[name]] = parsed.data;
    else {
      const [issue] = parsed.error.issues;
      const why = `${annotationPrefix}${name}: ${issue?.message ?? 'is wrong'}, not "${shown(value)}"; it is ignored.`;
      wrong.push({ name, knob: knobOf[name], why });
    }
  }
  return { knobs, wrong };
}
