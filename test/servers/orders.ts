// What a test's process tells the process with its backends, and what clients may ask a backend.

export interface Listen {
  readonly kind: 'listen';
  readonly name: string;
  /** 0 for a free one. */
  readonly port: number;
}

export type Order =
  | Listen
  /** How long `answer` and `answer-and-end` take from now on. */
  | { readonly kind: 'delay'; readonly name: string; readonly ms: number }
  /** Speaks first from now on: says its name to whoever connects, and ends the connection. */
  | { readonly kind: 'greet'; readonly name: string }
  /** Ends its connections, and refuses new ones. */
  | { readonly kind: 'down'; readonly name: string };

export interface Obeyed {
  readonly port: number;
}

/** What a byte asks for. The others are skipped. */
export const requests = {
  'answer-and-end': 'G',
  answer: 'K',
  'answer-at-once': 'N',
  'answer-after-1-s': 'S',
  'answer-after-4-s-and-end': 'B',
  'end-without-answer': 'X',
  'reset-the-connection': 'R',
  'never-answer': 'L',
  'answer-at-newline': 'U',
  'answer-at-end-of-input': 'C',
  'send-4-MiB': 'F',
} as const;
