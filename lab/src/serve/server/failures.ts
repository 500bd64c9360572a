/** @file Errors from elsewhere, as a client is to see them: Fastify's with their status, everything else without its inside. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { APIError } from './errors.ts';

/** What Fastify and Node throw. */
interface ErrorWithStatus extends Error {
  readonly statusCode?: number;
  readonly code?: string;
}

export function asAPIError(error: unknown): APIError {
  if (error instanceof APIError) return error;
  const { statusCode = 500, message, code } = error as ErrorWithStatus;
  if (statusCode >= 400 && statusCode < 500) {
    const isOther = code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE';
    return new APIError(statusCode, isOther ? 'The body must be JSON: send Content-Type: application/json.' : message);
  }
  return new APIError(500, 'The server failed; it is not the request.');
}

const BROKEN: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The headers are too long.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request did not come to its end in time.'],
};

/** For what is no HTTP, or half of it: there is no request yet. */
export function answerBrokenRequest(error: ErrorWithStatus, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] = BROKEN[error.code ?? ''] ?? [400, 'This is not HTTP.'];
  const body = JSON.stringify(new APIError(status, message).body);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  // Who goes on sending is not listened to.
  socket.destroySoon();
}
