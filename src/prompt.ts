import { hash } from 'node:crypto'
import { isObject } from './dialects/json.ts'
import { GatewayError } from './errors.ts'
import type { JsonValue } from '@vouchgate/attestation'
import { isSessionId, type SessionId } from './ids.ts'
import { readFormShape, type FormShape } from './form-shape.ts'
import type { Operation } from './operations.ts'
import {
  applyEdits,
  jsonMembers,
  removal,
  startsObject,
  type Edit,
  type Member,
} from './json-members.ts'
import { NO_PREFERENCES, readPreferences, type Preferences } from './preferences.ts'
import { expose, Sensitive } from './sensitive.ts'

/** The bytes of a request body. */
export type Prompt = Sensitive<Buffer>

/** What the gateway needs to know of a prompt. It holds no content. */
export interface Shape {
  /** The model as asked for; not yet known to exist. */
  readonly model: string
  readonly stream: boolean
  readonly constraints: Constraints
  readonly preferences: Preferences
  /** Of a body that is JSON. */
  readonly members: readonly Member[]
  /** Null where the body is JSON. */
  readonly form: FormShape | null
  readonly body: ParsedBody
}

/** ACI §5.3: they only tighten what the operator configured. */
interface Constraints {
  readonly verified: boolean
  /** Null where the client pins no session. */
  readonly sessions: ReadonlySet<SessionId> | null
}

const NO_CONSTRAINTS: Constraints = { verified: false, sessions: null }
const MAX_PINNED = 64
const MAX_MODEL = 256

/**
 * Parses once. Throws `invalid_json`, `duplicate_member`, `invalid_request`, `invalid_constraint`, `invalid_preference`,
 * `not_stateless`, and `unsupported_media_type` for a form without a boundary.
 */
export function readShape(
  prompt: Prompt,
  { takes, isRequest, keeps }: Operation,
  contentType = '',
): Shape {
  const bytes = expose(prompt)
  if (takes === 'form') return formShape(prompt, contentType)
  const body = parse(bytes)
  if (!isObject(body)) throw new GatewayError('invalid_request')
  const members = jsonMembers(bytes)
  checkProvider(bytes, members)
  const { model, stream, provider } = body
  if (!isModelName(model)) {
    throw new GatewayError('invalid_request')
  }
  if (!isRequest(body)) throw new GatewayError('invalid_request')
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError('invalid_request')
  }
  const known = readProvider(provider)
  if (keeps(body)) throw new GatewayError('not_stateless')
  const parsed = new ParsedBody(prompt, body)
  return { model, stream: stream === true, ...known, members, form: null, body: parsed }
}

/** Half a character cannot be written into a receipt. */
const isModelName = (model: JsonValue | undefined): model is string =>
  typeof model === 'string' && model.length > 0 && model.length <= MAX_MODEL && model.isWellFormed()

function formShape(prompt: Prompt, contentType: string): Shape {
  const form = readFormShape(expose(prompt), contentType)
  const { model, stream } = form
  const body = new ParsedBody(prompt, null)
  const asked = { constraints: NO_CONSTRAINTS, preferences: NO_PREFERENCES }
  return { model, stream, ...asked, members: [], form, body }
}

/** A body as a value, for a dialect to read: held until it is dropped, and read again only by who asks after that. */
class ParsedBody {
  readonly #prompt: Prompt
  #value: Sensitive<JsonValue> | null

  constructor(prompt: Prompt, value: JsonValue) {
    this.#prompt = prompt
    this.#value = new Sensitive(value)
  }

  /** Without what is said to the gateway alone. Throws `invalid_json`. */
  get(): JsonValue {
    this.#value ??= new Sensitive(parse(expose(this.#prompt)))
    return unaddressed(expose(this.#value))
  }

  /** What is passed on as it is needs no value while it is served. */
  drop(): void {
    this.#value = null
  }
}

/** What `provider` says is said to the gateway alone. */
function unaddressed(body: JsonValue): JsonValue {
  if (!isObject(body)) return body
  const { provider: _consumed, ...rest } = body
  return rest
}

/** One for all: without `stream` it keeps nothing between two texts. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** V8 quotes the input in SyntaxError messages, so the original error is dropped, not chained. */
function parse(bytes: Buffer): JsonValue {
  try {
    const value: JsonValue = JSON.parse(UTF8.decode(bytes))
    return value
  } catch {
    throw new GatewayError('invalid_json')
  }
}

/** Of two constraints of one name, one parser keeps the first and one the last. */
function checkProvider(bytes: Buffer, members: readonly Member[]): void {
  const provider = members.find(({ name }) => name === 'provider')
  if (provider !== undefined && startsObject(bytes, provider.valueStart)) {
    jsonMembers(bytes, provider.valueStart)
  }
}

function readProvider(provider: JsonValue | undefined): Pick<Shape, 'constraints' | 'preferences'> {
  if (provider === undefined || provider === null) {
    return { constraints: NO_CONSTRAINTS, preferences: NO_PREFERENCES }
  }
  if (!isObject(provider)) throw new GatewayError('invalid_preference')
  const { aci_verified: verified, aci_session_ids: sessions, ...rest } = provider
  // An unknown constraint must never be ignored: the client believes that it holds.
  if (Object.keys(rest).some((name) => name.startsWith('aci_'))) {
    throw new GatewayError('invalid_constraint')
  }
  const constraints = readConstraints(verified, sessions)
  return { constraints, preferences: readPreferences(rest) }
}

function readConstraints(
  verified: JsonValue | undefined,
  sessions: JsonValue | undefined,
): Constraints {
  if (verified !== undefined && typeof verified !== 'boolean') {
    throw new GatewayError('invalid_constraint')
  }
  if (sessions === undefined) return { verified: verified === true, sessions: null }
  if (verified === false) throw new GatewayError('invalid_constraint')
  return { verified: true, sessions: readSessions(sessions) }
}

function readSessions(value: JsonValue): ReadonlySet<SessionId> {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_PINNED) {
    throw new GatewayError('invalid_constraint')
  }
  return new Set(
    value.map((id: JsonValue) => {
      if (typeof id !== 'string' || !isSessionId(id)) throw new GatewayError('invalid_constraint')
      return id
    }),
  )
}

/** What must change of a prompt on its way to a provider. */
export interface Changes {
  /** The model's name there. */
  readonly model: string
  /** What stands in place of names that the client gave its own users. */
  readonly edits: (bytes: Buffer, members: readonly Member[]) => readonly Edit[]
}

/**
 * The bytes for a provider: the prompt itself where nothing must change, else only the value of `model` and the
 * members that name somebody are spliced. What `provider` says is said to the gateway alone.
 */
export function forwardable(prompt: Prompt, shape: Shape, changes: Changes): Prompt {
  const bytes = expose(prompt)
  const edits = [...changes.edits(bytes, shape.members)]
  if (shape.form !== null && shape.model !== changes.model) {
    edits.push({ ...shape.form.modelAt, text: changes.model })
  }
  for (const member of shape.members) {
    if (member.name === 'model' && shape.model !== changes.model) {
      edits.push({ start: member.valueStart, end: member.end, text: JSON.stringify(changes.model) })
    }
    if (member.name === 'provider') edits.push(removal(shape.members, member))
  }
  if (edits.length === 0) return prompt
  const ordered = edits.toSorted((left, right) => left.start - right.start)
  return new Sensitive(applyEdits(bytes, ordered))
}

/** The body as a dialect reads it: without what is said to the gateway, and with the edits. Throws `invalid_json`. */
export function readable(prompt: Prompt, shape: Shape, edits: Changes['edits']): JsonValue {
  const bytes = expose(prompt)
  const wanted = edits(bytes, shape.members)
  return wanted.length === 0 ? shape.body.get() : unaddressed(parse(applyEdits(bytes, wanted)))
}

/** `sha256:<hex>` over the exact bytes, as receipts state it. */
export const bodyHash = (prompt: Prompt): string => hashLabel(expose(prompt))

export const promptBytes = (prompt: Prompt): number => expose(prompt).length

export const hashLabel = (bytes: Uint8Array): string => `sha256:${hash('sha256', bytes, 'hex')}`

export const isPrompt = (value: unknown): value is Prompt =>
  value instanceof Sensitive && Buffer.isBuffer(expose(value))
