/** @file What goes wrong, as OpenAI's clients expect to hear it: a status, and `{ error: { message, type, param, code } }`. */

export interface APIErrorOptions {
  /** The parameter that is wrong. */
  readonly param?: string;
  /** A word for programs. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The body of an answer that is an error. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export class APIError extends Error {
  override readonly name: string = 'APIError';
  /** Of HTTP. */
  readonly status: number;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, { param, code, headers = {} }: APIErrorOptions = {}) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  get body(): ErrorBody {
    const { message, status, param = null, code = null } = this;
    return { error: { message, type: typeOf(status), param, code } };
  }
}

/** The client is gone: nobody hears this, it is only counted (nginx's status for it). */
export const GONE = 499;

function typeOf(status: number): string {
  if (status >= 500) return 'server_error';
  const types: Readonly<Record<number, string>> = { 401: 'authentication_error', 429: 'rate_limit_error' };
  return types[status] ?? 'invalid_request_error';
}

/** A request that makes no sense, and which of its parameters does not. */
export function badRequest(message: string, param?: string, code?: string): APIError {
  return new APIError(400, message, { ...(param !== undefined && { param }), ...(code !== undefined && { code }) });
}
