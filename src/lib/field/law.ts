// Which law this is: a recorded field can be compared only with what the same law says.

/**
 * Raised with every change after which the same signals may come to another field, and
 * with it a golden trace is recorded (test/recorder/golden.ts): its test finds out if
 * this was forgotten.
 */
export const lawVersion = 3;
