// The closed lists of what the law can say of a backend, a valve and a route.

/** From open to shut. */
export const admissionModes = ['normal', 'soft', 'hard'] as const;
export type AdmissionMode = (typeof admissionModes)[number];

/** From the calmest to the gravest. */
export const regimes = ['laminar', 'recovery', 'transition', 'crisis'] as const;
export type Regime = (typeof regimes)[number];

export type BackendState = 'healthy' | 'degraded' | 'isolated';

export type IsolationCause = 'errors' | 'latency' | 'silence';
