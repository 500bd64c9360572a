/**
 * @file TopicPrefix: the title of a document before each of its sentences, so that a sentence says whom it is about wherever a
 * window cuts the text. Lee et al. 2022 (FactualityPrompts), section 5.1.
 */

/** A sentence ends with its line, or with a full stop, question or exclamation mark and a blank. */
const SENTENCE = /[^\s](?:.*?[.!?](?= )|.*)/g;

/** What stands between the topic and the sentence. */
const SEPARATOR = ': ';

/** `It was founded in 1987.` → `Valdora Systems: It was founded in 1987.` A line that is the topic alone stays. */
export function topicPrefix(text: string, topic: string): string {
  return text.replace(SENTENCE, (sentence) => (sentence.trim() === topic ? sentence : topic + SEPARATOR + sentence));
}

/** The way back; sentences without the prefix stay as they are. */
export function withoutTopicPrefix(text: string, topic: string): string {
  return text.replaceAll(topic + SEPARATOR, '');
}
