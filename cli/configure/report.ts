import type { StackFile, Value } from "./stackFile";

/** What was written, and which commands come next. */
export function report(
  fileName: string,
  stack: string,
  config: StackFile,
  changed: readonly (readonly [string, Value | undefined])[],
  hasPassphrase: boolean,
): string {
  const lines = changed.map(([key, value]) =>
    value === undefined
      ? `  ${key}: (removed)`
      : `  ${key}: ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const next = [
    ...(config.isInitialized ? [] : [`pulumi stack init ${stack}     # once`]),
    ...(hasPassphrase && !config.has("host.privateKeyPassphrase")
      ? [`pulumi config set --path --secret host.privateKeyPassphrase --stack ${stack}`]
      : []),
    `pulumi up --stack ${stack}`,
  ];
  return [
    changed.length === 0 ? `${fileName} is up to date, nothing was changed.` : `Written to ${fileName}:`,
    ...lines,
    ...(config.has("host.privateKey")
      ? ["Note: host.privateKey is set too, and takes precedence over host.privateKeyFile."]
      : []),
    "Next:",
    ...next.map((command) => `  ${command}`),
    "",
  ].join("\n");
}
