/**
 * @file How a conversation becomes the tokens that a model continues: by the chat template that came with it, or plainly.
 */
import type { Tokenizer } from '../../tokenizer/index.ts';

export interface Message {
  /** 'system', 'user', 'assistant' or 'tool'. */
  readonly role: string;
  readonly content: string;
}

/** The seam: another way to ask a model. */
export interface Conversation {
  /**
   * Everything up to where the answer begins.
   *
   * @throws LabError when the messages cannot be written so.
   */
  encode(messages: readonly Message[]): ArrayLike<number>;
  /** Texts that end an answer. */
  readonly stop?: readonly string[];
}

/** Writes a conversation as one text; `ChatTemplate` is one. */
export interface Template {
  render(messages: readonly Message[]): string;
}

/** @param tokenizer adds nothing around the text: the template has written those tokens */
export function templateConversation(template: Template, tokenizer: Tokenizer): Conversation {
  return { encode: (messages) => tokenizer.encode(template.render(messages)) };
}

/**
 * For a model without a template: each message is a paragraph that begins with its role, and the answer ends where the next
 * question would begin.
 *
 * ```text
 * System: Answer in one word.
 *
 * User: What is the capital of France?
 *
 * Assistant:
 * ```
 */
export function plainConversation(tokenizer: Tokenizer): Conversation {
  const title = (role: string): string => role.charAt(0).toUpperCase() + role.slice(1);
  return {
    encode: (messages) =>
      tokenizer.encode(messages.map(({ role, content }) => `${title(role)}: ${content}\n\n`).join('') + 'Assistant:'),
    stop: ['\nUser:'],
  };
}
