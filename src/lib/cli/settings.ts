// The flags that a variable can set for whatever command takes them, and what it sets them
// to here. `commands` are oclif's, as the manifest has them.
export interface Setting {
  readonly flag: string;
  /** Null where neither the environment nor a default says anything. */
  readonly value: string | null;
  readonly environment: string;
  readonly from: 'environment' | 'default';
}

interface Flagged {
  readonly flags: Readonly<Record<string, { name: string; env?: string; default?: unknown }>>;
}

export function settingsOf(
  commands: readonly Flagged[],
  environment: Readonly<Record<string, string | undefined>>,
): Setting[] {
  const settings = new Map<string, Setting>();
  for (const { flags } of commands) {
    for (const { name, env, default: byDefault } of Object.values(flags)) {
      if (env === undefined) continue;
      const given = environment[env];
      const value = given ?? (typeof byDefault === 'string' ? byDefault : null);
      const from = given === undefined ? 'default' : 'environment';
      settings.set(env, { flag: name, value, environment: env, from });
    }
  }
  return [...settings.values()].sort((a, b) => (a.flag < b.flag ? -1 : 1));
}
