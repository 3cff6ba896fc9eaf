/** The exit codes of every command. */
export const exitCodes = { done: 0, failed: 1, findings: 2, cancelled: 130 } as const;

export const exitCodesHelp = `
Exit codes of every command:
  0    success; a check found nothing
  1    failure, the error says why
  2    a check found something, such as drift
  130  cancelled at a question, nothing was changed
`;
