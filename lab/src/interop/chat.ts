/**
 * @file Chat templates: how a conversation is written as one text for a model that was trained on such texts. They are programs in
 * the language Jinja, which comes with the model; `@huggingface/jinja` runs them, so that any model's template works.
 */
import { LabError, messageOf } from '../base/index.ts';
import { isObject, type JSONObject } from './json.ts';

export interface ChatMessage {
  /** 'system', 'user', 'assistant', or what else the template knows. */
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** End with the beginning of the answer (default true). */
  readonly addGenerationPrompt?: boolean;
}

export class ChatTemplate {
  readonly #template: { render(context: Record<string, unknown>): string };
  readonly #variables: JSONObject;

  private constructor(template: { render(context: Record<string, unknown>): string }, variables: JSONObject) {
    this.#template = template;
    this.#variables = variables;
  }

  /**
   * @param source the template, in Jinja
   * @param variables what it may use beside the messages: `bos_token`, `eos_token`
   * @throws LabError when it is not a template.
   */
  static async parse(source: string, variables: JSONObject = {}): Promise<ChatTemplate> {
    const { Template } = await import('@huggingface/jinja');
    try {
      return new ChatTemplate(new Template(source), variables);
    } catch (error) {
      throw new LabError(`The chat template cannot be read: ${messageOf(error)}`, { cause: error });
    }
  }

  /**
   * The conversation as a text. The tokens that begin and end it are in it already: encode it with `tokenizer.withoutTemplate()`,
   * or with `addSpecial: false`.
   *
   * @throws LabError when the template refuses the messages, with its own words.
   */
  render(messages: readonly ChatMessage[], { addGenerationPrompt = true }: ChatOptions = {}): string {
    try {
      return this.#template.render({ ...this.#variables, messages, add_generation_prompt: addGenerationPrompt });
    } catch (error) {
      throw new LabError(`The chat template refuses these messages: ${messageOf(error)}`, { cause: error });
    }
  }
}

/**
 * The template that comes with a model.
 *
 * @param config what stands in tokenizer_config.json
 * @param file what stands in chat_template.jinja, which goes first
 */
export async function readChatTemplate(config: JSONObject = {}, file?: string): Promise<ChatTemplate | undefined> {
  const { chat_template: given } = config;
  // Several have names; the one for a plain conversation is called so.
  const named: unknown = Array.isArray(given) ? given.filter(isObject).find(({ name }) => name === 'default')?.['template'] : given;
  const source = file ?? named;
  if (typeof source !== 'string') return undefined;
  const special = Object.entries(config).flatMap(([name, value]) => {
    const text: unknown = isObject(value) ? value['content'] : value;
    return name.endsWith('_token') && typeof text === 'string' ? [[name, text] as const] : [];
  });
  return ChatTemplate.parse(source, Object.fromEntries(special));
}
