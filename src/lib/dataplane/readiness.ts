// Waits for descriptors that are ready out of band (POLLPRI), which Node cannot poll for.
// It knows nothing of what the descriptors are.
import { PriorityPoll } from './native.js';

export interface PriorityWatch {
  close(): void;
}

/**
 * Calls `onReady` from the event loop whenever POLLPRI is set, and `onGone` once if what
 * is behind the descriptor is removed; nothing is called after that, nor after close().
 * The descriptor stays the caller's and may be closed at any time: the watch goes on until
 * it is closed itself, and does not keep the process alive.
 */
export function watchPriority(fd: number, onReady: () => void, onGone?: () => void): PriorityWatch {
  return new PriorityPoll(fd, (gone) => {
    if (gone) onGone?.();
    else onReady();
  });
}
