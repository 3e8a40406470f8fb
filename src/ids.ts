declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** Random bytes of the given length; a parameter, so that tests are repeatable. */
export type Random = (length: number) => Uint8Array

/**
 * Random bytes out of a pool that is filled a page at a time: an id per request is not worth a system call.
 * Each byte is given out once.
 */
export function pooled(random: Random, pageSize = 4096): Random {
  let page = random(pageSize)
  let at = 0
  return (length) => {
    if (at + length > page.length) {
      page = random(Math.max(pageSize, length))
      at = 0
    }
    at += length
    return page.subarray(at - length, at)
  }
}

export type RequestId = Brand<string, 'RequestId'>
export type ReceiptId = Brand<string, 'ReceiptId'>
export type SessionId = Brand<string, 'SessionId'>
export type ProviderId = Brand<string, 'ProviderId'>
export type ModelName = Brand<string, 'ModelName'>
export type KeyId = Brand<string, 'KeyId'>
export type TeamName = Brand<string, 'TeamName'>
/** Lower-case hex of the SHA-256 of an API key. The key itself is never kept. */
export type CredentialDigest = Brand<string, 'CredentialDigest'>

// Brands are minted by predicates, so no cast is needed anywhere.
const LABEL = /^[a-z][a-z0-9-]{0,30}$/
const HEX_32 = /^[0-9a-f]{64}$/

export const isProviderId = (value: string): value is ProviderId => LABEL.test(value)
export const isKeyId = (value: string): value is KeyId => LABEL.test(value)
export const isTeamName = (value: string): value is TeamName => LABEL.test(value)
export const isModelName = (value: string): value is ModelName =>
  /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/.test(value)
export const isSessionId = (value: string): value is SessionId => HEX_32.test(value)
export const isCredentialDigest = (value: string): value is CredentialDigest => HEX_32.test(value)
export const isRequestId = (value: string): value is RequestId =>
  /^req_[0-9A-HJKMNP-TV-Z]{26}$/.test(value)
export const isReceiptId = (value: string): value is ReceiptId =>
  /^rcpt_[0-9A-HJKMNP-TV-Z]{26}$/.test(value)

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

function suffix(random: Random): string {
  let text = ''
  for (const byte of random(26)) text += ALPHABET[byte & 31] ?? ''
  return text
}

export function newRequestId(random: Random): RequestId {
  const id = `req_${suffix(random)}`
  if (!isRequestId(id)) throw new TypeError('expected 26 random bytes')
  return id
}

export function newReceiptId(random: Random): ReceiptId {
  const id = `rcpt_${suffix(random)}`
  if (!isReceiptId(id)) throw new TypeError('expected 26 random bytes')
  return id
}
