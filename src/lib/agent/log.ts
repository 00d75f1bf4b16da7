// Where the agent says what it does; the command line decides how it looks.
export interface AgentLog {
  info(message: string): void;
  warn(message: string): void;
}
