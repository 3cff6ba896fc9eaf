/** What the exit code of every command says. */
export const exitCodes = { done: 0, failed: 1, findings: 2, cancelled: 130 } as const;

export const exitCodesHelp = `
Exit codes of every command:
  0    done; what was looked at is as it should be
  1    it could not be done, the error says why
  2    it was looked at, and is not as it should be
  130  cancelled at a question, nothing was changed
`;
