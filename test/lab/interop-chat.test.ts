/** @file Conversations are written as transformers writes them (test/oracle/interop_chat.py). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ChatTemplate, loadPretrained, startBackend, type ChatMessage } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { copyOf, fixturePath } from './interop-fixture.ts';

interface Fixture {
  readonly templates: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
  readonly cases: readonly { template: string; messages: ChatMessage[]; addGenerationPrompt: boolean; text: string | null }[];
}

const { templates, variables, cases } = JSON.parse(readFileSync(fixturePath('chats.json'), 'utf8')) as Fixture;
beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

describe.each(Object.keys(templates))('the template %s', (name) => {
  it('makes the same texts, and refuses the same conversations', async () => {
    const template = await ChatTemplate.parse(templates[name]!, variables);
    const own = cases.filter((one) => one.template === name);
    expect(own.length).toBe(8);
    for (const { messages, addGenerationPrompt, text } of own) {
      const render = () => template.render(messages, { addGenerationPrompt });
      if (text === null) expect(render).toThrow(/The chat template refuses these messages: .*must alternate/);
      else expect(render()).toBe(text);
    }
  });
});

describe('a chat template', () => {
  const messages = [{ role: 'user', content: 'Hello!' }];
  const templateOf = async (config: object, file?: string): Promise<ChatTemplate | undefined> => {
    const folder = copyOf('qwen2');
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    if (file !== undefined) writeFileSync(join(folder, 'chat_template.jinja'), file);
    const { chatTemplate, model } = await loadPretrained(folder, { quiet: true });
    model.dispose();
    return chatTemplate;
  };

  it('comes with the model, in its tokenizer_config.json or in a file of its own', async () => {
    expect((await templateOf({ chat_template: templates['chatml'] }))!.render(messages)).toContain('<|im_start|>user\nHello!<|im_end|>');
    const named = [{ name: 'tool_use', template: 'no' }, { name: 'default', template: '{{ bos_token }}{{ eos_token }}!' }];
    const special = { bos_token: '<s>', eos_token: { content: '</s>', lstrip: false }, unk_token: null };
    expect((await templateOf({ chat_template: named, ...special }))!.render(messages)).toBe('<s></s>!');
    expect((await templateOf({ chat_template: 'no' }, '{{ messages[0].content }}'))!.render(messages)).toBe('Hello!');
    expect(await templateOf({})).toBeUndefined();
  });

  it('begins the answer unless told not to', async () => {
    const template = await ChatTemplate.parse(templates['chatml']!);
    expect(template.render(messages)).toMatch(/<\|im_start\|>assistant\n$/);
  });

  it('that is none is refused', async () => {
    await expect(ChatTemplate.parse('{% for %}')).rejects.toMatchObject({ name: 'LabError', message: expect.stringMatching(/cannot be read/) as string });
  });
});
