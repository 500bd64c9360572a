/** @file Where a text ends that must not contain certain texts, while it is still being written. */

/** The text up to the first stop text in it. */
export function beforeStop(text: string, stops: readonly string[]): string {
  const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return ends.length > 0 ? text.slice(0, Math.min(...ends)) : text;
}

/** The text without an end that the next token may still change: the start of a stop text, or of a character of several bytes. */
export function settled(text: string, stops: readonly string[]): string {
  for (let at = 0; at < text.length; at++) {
    const rest = text.slice(at);
    if (/^\uFFFD+$/.test(rest) || stops.some((stop) => stop.startsWith(rest))) return text.slice(0, at);
  }
  return text;
}
