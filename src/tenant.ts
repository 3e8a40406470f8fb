import { createHmac } from 'node:crypto'
import type { Model, Provider } from './config/index.ts'
import type { TeamName } from './ids.ts'
import { applyEdits, jsonMembers, startsObject, type Edit, type Member } from './json-members.ts'
import type { Operation } from './operations.ts'

const QUOTE = 0x22

/** Members by which a client names its users or its caches to a provider. */
const NAMING: ReadonlySet<string> = new Set([
  'prompt_cache_key',
  'user',
  'safety_identifier',
  'cache_salt',
])

/** A prompt's team, the names in its place, and whether its caches are kept apart. */
export interface Tenant {
  /** Replaces what names somebody; adds a salt where one is wanted and none was sent. */
  edits(bytes: Buffer, members: readonly Member[], salted: boolean): Edit[]
  /** Of the team's caches. */
  readonly salt: string
}

/**
 * Pseudonyms of the users that clients name. Two teams that choose the same name must not share a provider's cache, in
 * which one could see by the time of an answer what the other asked; and a provider learns nobody's name.
 */
export class TenantNames {
  readonly #secret: Uint8Array
  /** Of the teams of the configuration. */
  readonly #tenants = new Map<TeamName, Tenant>()

  /** `secret`: 32 random bytes of this start, so that names of two runs cannot be linked. */
  constructor(secret: Uint8Array) {
    if (secret.length !== 32) throw new TypeError('expected 32 random bytes')
    this.#secret = Uint8Array.from(secret)
  }

  of(team: TeamName): Tenant {
    const known = this.#tenants.get(team)
    if (known !== undefined) return known
    const tenant = this.#make(team)
    this.#tenants.set(team, tenant)
    return tenant
  }

  #make(team: TeamName): Tenant {
    const named = (member: string, value: string): string => this.#name([member, team, value])
    const salt = named('cache_salt', '')
    return {
      salt,
      edits: (bytes, members, salted) => [
        ...members.flatMap((member) => replaced(bytes, member, named)),
        ...(salted && !members.some(({ name }) => name === 'cache_salt')
          ? added(members, 'cache_salt', salt)
          : []),
      ],
    }
  }

  /** 43 characters: providers accept at most 64. */
  #name(parts: readonly string[]): string {
    return createHmac('sha256', this.#secret).update(JSON.stringify(parts)).digest('base64url')
  }
}

function replaced(
  bytes: Buffer,
  member: Member,
  named: (member: string, value: string) => string,
): Edit[] {
  const { name, valueStart, end } = member
  if (name === 'metadata' && startsObject(bytes, valueStart)) {
    const inner = jsonMembers(bytes, valueStart).filter((each) => each.name === 'user_id')
    return inner.flatMap((each) =>
      pseudonym(bytes, each, (value) => named('metadata.user_id', value)),
    )
  }
  if (!NAMING.has(name)) return []
  return pseudonym(bytes, { valueStart, end }, (value) => named(name, value))
}

/** Null says nothing. Anything else names somebody, also where it is not the text that it should be. */
function pseudonym(
  bytes: Buffer,
  { valueStart: start, end }: Pick<Member, 'valueStart' | 'end'>,
  named: (value: string) => string,
): Edit[] {
  const raw = bytes.toString('utf8', start, end)
  if (raw === 'null') return []
  const value = bytes[start] === QUOTE ? String(JSON.parse(raw)) : raw
  return [{ start, end, text: JSON.stringify(named(value)) }]
}

/** Before the first member: a request has at least one. */
function added(members: readonly Member[], name: string, value: string): Edit[] {
  const [first] = members
  if (first === undefined) return []
  const text = `${JSON.stringify(name)}:${JSON.stringify(value)},`
  return [{ start: first.start, end: first.start, text }]
}

/** An encoded request with the salt, unless the client had one. */
export function withSalt(body: Buffer, salt: string): Buffer {
  const members = jsonMembers(body)
  if (members.some(({ name }) => name === 'cache_salt')) return body
  return applyEdits(body, added(members, 'cache_salt', salt))
}

/** Encrypts field by field, and refuses members that it does not know. */
const UNSALTED: ReadonlySet<Provider['kind']> = new Set(['near-cloud'])
const SALTED: ReadonlySet<Operation['name']> = new Set([
  'chat',
  'completions',
  'responses',
  'messages',
])

/** Whether the provider is told whose cache a prompt belongs to: vLLM's `cache_salt`, which others pass over. */
export const isSalted = (
  { confidentiality, cacheSalt }: Pick<Model, 'confidentiality' | 'cacheSalt'>,
  { kind }: Provider,
  { name }: Operation,
): boolean => confidentiality === 'attested' && cacheSalt && !UNSALTED.has(kind) && SALTED.has(name)
