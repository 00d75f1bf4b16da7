// What the calendar's events mean.
export const Event = {
  arrive: 0,
  reach: 1,
  finish: 2,
  answer: 3,
  giveUp: 4,
  redial: 5,
  think: 6,
  /** From here on the one who set it is told. */
  call: 7,
  /** A SYN that nobody answered is sent again. */
  repeat: 8,
  /** The client sends more. */
  send: 9,
  /** What the client waits for has happened at the backend. */
  happened: 10,
  /** The backend answers with an error. */
  error: 11,
  /** The client lets the connection go. */
  leave: 12,
} as const;
