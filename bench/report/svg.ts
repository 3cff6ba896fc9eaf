/** What the charts are drawn with: the same in a light and in a dark page. */
export const style = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .small { font-size: 11px; fill: #57606a }
  .line { stroke: #d0d7de; stroke-width: 1 }
  .others { fill: #8c959f }
  .ours { fill: #0969da }
  .spread { stroke: #24292f; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .line { stroke: #3d444d }
    .others { fill: #656c76 }
    .ours { fill: #4493f8 }
    .spread { stroke: #e6edf3 }
  }`;

/** @param description what somebody is told who does not see it */
export function drawing(
  width: number,
  height: number,
  description: string,
  content: readonly string[],
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" width="${width}" height="${round(height)}" role="img">
<title>${escaped(description)}</title>
<style>${style}
</style>
${content.join("\n")}
</svg>
`;
}

export interface TextOptions {
  readonly className?: "title" | "small";
  readonly anchor?: "start" | "middle" | "end";
}

export function text(x: number, y: number, content: string, options: TextOptions = {}): string {
  const { className, anchor } = options;
  const named = className === undefined ? "" : ` class="${className}"`;
  const anchored = anchor === undefined ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${round(x)}" y="${round(y)}"${named}${anchored}>${escaped(content)}</text>`;
}

export function bar(x: number, y: number, width: number, height: number, className: string): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" class="${className}"/>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, className: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${className}"/>`;
}

const round = (value: number) => Math.round(value * 10) / 10;

const escaped = (content: string) =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** A round distance between the lines of a scale that ends at or after this, with at most six of them. */
export function tick(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  const steps = [0.1, 0.2, 0.5, 1, 2].map((step) => step * power);
  return steps.find((step) => most / step <= 6) ?? power * 2;
}
