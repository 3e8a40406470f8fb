import { STATUS_CODES } from 'node:http'
import { errorBody, GatewayError, type ErrorCode } from './errors.ts'

/** Node's codes of requests that have no route yet, and so no dialect. */
const CODES: ReadonlyMap<string, ErrorCode> = new Map([
  ['HPE_HEADER_OVERFLOW', 'headers_too_large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request_timeout'],
])

/** A whole response to what is no HTTP request, after which there is nothing more to say on its connection. */
export function unreadable(nodeCode: string): string {
  const code = CODES.get(nodeCode) ?? 'bad_request'
  const { status } = new GatewayError(code)
  const body = errorBody(code)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${body.length}`,
    'connection: close',
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
