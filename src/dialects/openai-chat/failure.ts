import type { IncomingHttpHeaders } from 'node:http'
import type { JsonValue } from '@vouchgate/attestation'
import type { FailureClass, ProviderFailure } from '../canonical.ts'
import { retryAfter } from '../failing.ts'
import { listOf, parsed, textOf, wholeOf, wordOf } from './json.ts'
import { isList, isObject, member, type Json } from '../json.ts'

const MAX_BODY = 1 << 20
const MAX_MESSAGE = 1000

/** What an error body says, whatever its shape. */
interface Stated {
  readonly message: string
  readonly code: string
  readonly type: string
  /** The status that the body itself names. */
  readonly status: number | null
}

const SILENT: Stated = { message: '', code: '', type: '', status: null }

/** Codes and types that mean more than the status they come with. */
const CODES: ReadonlyMap<string, FailureClass> = new Map([
  ['context_length_exceeded', 'context_length'],
  ['string_above_max_length', 'context_length'],
  ['content_filter', 'content_filter'],
  ['content_policy_violation', 'content_filter'],
  ['ResponsibleAIPolicyViolation', 'content_filter'],
  ['invalid_prompt', 'content_filter'],
  ['insufficient_quota', 'quota'],
  ['billing_hard_limit_reached', 'quota'],
  ['billing_not_active', 'quota'],
  ['rate_limit_exceeded', 'rate_limit'],
  ['invalid_api_key', 'auth'],
  ['account_deactivated', 'auth'],
  ['model_not_found', 'not_found'],
  ['DeploymentNotFound', 'not_found'],
  ['overloaded_error', 'overloaded'],
  ['server_overloaded', 'overloaded'],
  // The model called a tool in a way that its provider cannot read; the request is not to blame.
  ['tool_use_failed', 'server'],
  ['server_error', 'server'],
])

const STATUSES: ReadonlyMap<number, FailureClass> = new Map([
  [401, 'auth'],
  [402, 'quota'],
  [403, 'auth'],
  [404, 'not_found'],
  [408, 'server'],
  [429, 'rate_limit'],
  [498, 'overloaded'],
  [503, 'overloaded'],
  [529, 'overloaded'],
])

const NATURAL: Readonly<Record<FailureClass, number>> = {
  auth: 401,
  quota: 402,
  rate_limit: 429,
  context_length: 400,
  content_filter: 400,
  overloaded: 503,
  bad_request: 400,
  not_found: 404,
  server: 500,
}

const TOO_LONG =
  /maximum context|context (?:length|window)|(?:prompt|input) is too long|reduce the length|too many tokens|token limit/i

/** Never throws, whatever the body is. */
export function classify(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
): ProviderFailure {
  const stated = body.length > MAX_BODY ? SILENT : read(parsed(body) ?? undefined)
  return { ...judge(stated, status), status, retryAfterSeconds: retryAfter(headers) }
}

/** An error that came with status 200: within a stream, or in place of an answer. */
export function failureOf(error: JsonValue): ProviderFailure {
  const stated = read(isObject(error) && isObject(error['error']) ? error : { error })
  const judged = judge(stated, stated.status ?? 0)
  return {
    ...judged,
    status: stated.status ?? NATURAL[judged.class],
    retryAfterSeconds: null,
  }
}

function judge(stated: Stated, status: number): Pick<ProviderFailure, 'class' | 'message'> {
  const means = meaning(stated, status)
  const theirs = means === 'bad_request' || means === 'context_length' || means === 'content_filter'
  const message = stated.message.slice(0, MAX_MESSAGE).toWellFormed()
  return { class: means, message: theirs && message !== '' ? message : null }
}

function meaning(stated: Stated, status: number): FailureClass {
  const stands = CODES.get(stated.code) ?? CODES.get(stated.type)
  if (stands !== undefined) return stands
  const known = STATUSES.get(status)
  if (known !== undefined) return known
  const isCallers = status >= 400 && status < 500
  if (isCallers || stated.type === 'invalid_request_error') {
    return TOO_LONG.test(stated.message) ? 'context_length' : 'bad_request'
  }
  return 'server'
}

function read(body: Json): Stated {
  // Google's OpenAI surface puts its error into a list.
  const holder = isList(body) ? body[0] : body
  if (!isObject(holder)) return SILENT
  const error = member(holder, 'error')
  if (typeof error === 'string') return { ...SILENT, message: error }
  return readMembers(isObject(error) ? error : holder)
}

function readMembers(error: Json): Stated {
  const code = member(error, 'code')
  const inner = wordOf(member(member(error, 'innererror'), 'code'))
  const statuses = [code, member(error, 'status_code'), member(error, 'status')]
  return {
    message: textOf(member(error, 'message')) ?? details(error),
    code: textOf(code) ?? inner ?? '',
    type: textOf(member(error, 'type')) ?? '',
    status: statuses.map(asStatus).find((status) => status !== null) ?? null,
  }
}

function asStatus(value: Json): number | null {
  const status = wholeOf(typeof value === 'string' && /^\d{3}$/.test(value) ? +value : value)
  return status !== null && status >= 400 && status < 600 ? status : null
}

/** The list of what pydantic finds wrong; its `input` members quote the request and are left out. */
function details(error: Json): string {
  const detail = member(error, 'detail') ?? member(member(error, 'message'), 'detail')
  if (typeof detail === 'string') return detail
  return listOf(detail)
    .slice(0, 10)
    .flatMap((one) => wordOf(member(one, 'msg')) ?? [])
    .join('; ')
}
