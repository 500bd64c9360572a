/** @file A server in OpenAI's protocol before an engine. */
export { APIError, type ErrorBody } from './errors.ts';
export { plainConversation, templateConversation, type Conversation, type Message, type Template } from './conversation.ts';
export { APIServer, type ListenOptions, type ServerOptions } from './server.ts';
