/** What is wrong with one setting. */
export interface Problem {
  readonly key: string;
  readonly reason: string;
}

/** All problems in one message, so that they can be corrected in one go. */
export function tellProblems(subject: string, problems: readonly Problem[]): string {
  const count = problems.length === 1 ? "a wrong value" : `${problems.length} wrong values`;
  const lines = problems.map(({ key, reason }) => `  - ${key}: ${reason}`);
  return [`${subject} has ${count}, nothing was changed:`, ...lines].join("\n");
}
