import { isLocalHttp } from '../client/loopback.ts'

/**
 * Whether a service can be asked there: https, or http that does not leave the machine; no query, fragment or user.
 * `new URL` puts its input into the error it throws; `URL.parse` gives null.
 */
export function isSafeUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.search !== '' || url.hash !== '' || url.username !== '') return false
  return url.protocol === 'https:' || isLocalHttp(url)
}
