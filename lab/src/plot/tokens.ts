/**
 * @file Tokens coloured in their text: where does one end and the next begin? HTML in a notebook, plain text elsewhere.
 */
import { escapeMarkup, invariant, notebook } from '../base/index.ts';
import { visibleToken } from './attention-map.ts';

/** What a token stands for: its text, or its bytes, which need not be whole characters. */
export type TokenContent = string | Uint8Array;

export interface ShowTokensOptions {
  /** Stands above; the number of tokens is added to it. */
  readonly title?: string;
  /** The id of each token, said when the mouse is on it. */
  readonly ids?: ArrayLike<number>;
}

/** Pale enough for dark text; neighbours differ in lightness, too, for those who do not tell the colours apart. */
const backgrounds = ['#cfe3f5', '#f7d9bd', '#c6e8d5', '#efd3e4', '#f9eab5'] as const;

/**
 * Shows tokens one after another as the text they make, each on a colour of its own.
 *
 * @example showTokens(Array.from(ids, (id) => tokenizer.tokenBytes(id)), { title: 'BPE', ids })
 */
export function showTokens(tokens: readonly TokenContent[], options: ShowTokensOptions = {}): void {
  const text = tokensText(tokens, options);
  const display = notebook();
  if (display) display.bundle({ 'text/html': tokensHtml(tokens, options), 'text/plain': text });
  else console.log(text);
}

/** The tokens as HTML: spaces and line breaks keep their place, and nothing in a token is taken for markup. */
export function tokensHtml(tokens: readonly TokenContent[], options: ShowTokensOptions = {}): string {
  const { ids } = options;
  invariant(!ids || ids.length === tokens.length, `showTokens: ${ids?.length} ids for ${tokens.length} tokens`);
  const spans = tokens.map((token, i) => {
    const text = readable(token);
    const shown = escapeMarkup(visibleExceptSpaces(text)).replace(/⏎/g, '⏎\n');
    const says = escapeMarkup(visibleToken(text)) + (ids ? ` · ${ids[i]}` : '');
    const look = `background:${backgrounds[i % backgrounds.length]};color:#222222;border-radius:3px;padding:1px 0`;
    return `<span title="${says}" style="${look}">${shown}</span>`;
  });
  const heading = `<div><b>${escapeMarkup(headline(tokens, options))}</b></div>`;
  const lines = 'white-space:pre-wrap;line-height:1.7;overflow-wrap:anywhere';
  return `<div style="margin:4px 0">${heading}<div dir="auto" style="${lines}">${spans.join('')}</div></div>`;
}

/** The tokens as plain text, a bar between neighbours: `the|␣cat`. */
export function tokensText(tokens: readonly TokenContent[], options: ShowTokensOptions = {}): string {
  return `${headline(tokens, options)}\n${tokens.map((token) => visibleToken(readable(token))).join('|')}`;
}

function headline(tokens: readonly TokenContent[], { title }: ShowTokensOptions): string {
  const count = `${tokens.length} ${tokens.length === 1 ? 'token' : 'tokens'}`;
  return title ? `${title}: ${count}` : count;
}

/** The text of a token; where its bytes are no whole characters, those beyond ASCII as `\xE8`. */
function readable(token: TokenContent): string {
  if (typeof token === 'string') return token;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(token);
  } catch {
    return Array.from(token, (byte) =>
      byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16).toUpperCase()}`,
    ).join('');
  }
}

function visibleExceptSpaces(text: string): string {
  return text === '' ? visibleToken('') : text.replace(/[^ ]+/g, visibleToken);
}
