// oclif's hook for what is no command: one sentence of what happened, one of what to do.
import type { Hook } from '@oclif/core';

import { UsageError } from '../errors.js';
import { nearestCommand } from './suggestion.js';

const hook: Hook.CommandNotFound = function ({ id, config }) {
  const typed = id.split(':');
  const commands = config.commands
    .filter(({ hidden }) => !hidden)
    .map((command) => command.id.replaceAll(':', ' '));
  const meant = nearestCommand(typed, commands);
  const suggestion = meant === undefined ? '' : `Did you mean \`nity ${meant}\`? `;
  return Promise.reject(
    new UsageError(
      `nity ${typed.join(' ')} is not a command.`,
      `${suggestion}\`nity --help\` lists them all.`,
    ),
  );
};

export default hook;
