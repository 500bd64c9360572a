import { afterEach, describe, expect, it } from 'vitest';
import { escapeMarkup, notebook, svgImage } from 'lab';
import { kernel } from './fake-kernel.ts';

afterEach(() => kernel.stop());

describe('display', () => {
  it('is not there outside a notebook', () => {
    expect(notebook()).toBeUndefined();
  });

  it('sends a bundle as one message that updates nothing', () => {
    const messages = kernel.start();
    notebook()!.bundle({ 'text/html': '<b>x</b>', 'text/plain': 'x' });
    notebook()!.text('y');
    expect(messages.map(({ data, update }) => ({ data, update }))).toEqual([
      { data: { 'text/html': '<b>x</b>', 'text/plain': 'x' }, update: false },
      { data: { 'text/plain': 'y' }, update: false },
    ]);
    expect(messages.every(({ id }) => id === undefined)).toBe(true);
  });

  it('overwrites what a display of its own showed, and nothing else', () => {
    const messages = kernel.start();
    const [one, other] = [notebook()!.newDisplay(), notebook()!.newDisplay()];
    one.text('1');
    other.text('a');
    one.html('2');
    other.text('b');
    expect(messages.map(({ update }) => update)).toEqual([false, false, true, true]);
    expect(messages[0]!.id).toBe(messages[2]!.id);
    expect(messages[1]!.id).toBe(messages[3]!.id);
    expect(messages[0]!.id).not.toBe(messages[1]!.id);
  });

  it('draws SVG as an image that holds it whole, with a text for those who cannot see it', () => {
    const source = '<svg xmlns="http://www.w3.org/2000/svg"><text>␣⏎ é</text></svg>';
    const image = svgImage(source, 'a "curve" <1>');
    const [, encoded = ''] = /base64,([^"]*)"/.exec(image)!;
    expect(Buffer.from(encoded, 'base64').toString('utf8')).toBe(source);
    expect(image).toContain('alt="a &quot;curve&quot; &lt;1&gt;"');
  });

  it('makes markup harmless', () => {
    expect(escapeMarkup('<a href="x">&amp;</a>')).toBe('&lt;a href=&quot;x&quot;&gt;&amp;amp;&lt;/a&gt;');
  });
});
