import { createHash, createHmac } from 'node:crypto'

/** AWS Signature Version 4 by header, for services that encode the path twice (every one but S3). */
interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. */
  readonly sessionToken: string | null
}

export interface AwsRequest {
  readonly method: string
  /** As it will be sent, its path encoded once. */
  readonly url: URL
  /** Exactly those that are signed beside `host` and the ones that are given back. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly region: string
  readonly service: string
  readonly credentials: AwsCredentials
  /** Unix seconds. AWS refuses more than five minutes of difference. */
  readonly now: number
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

const sha256 = (data: Uint8Array | string): string =>
  createHash('sha256').update(data).digest('hex')
const hmac = (key: Uint8Array | string, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

/** All but the unreserved characters of RFC 3986. */
export const awsEncode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )

/** Empty segments do not count. A model id with a colon, sent as `%3A`, is signed as `%253A`. */
function canonicalPath(pathname: string): string {
  const segments = pathname.split('/').filter((segment) => segment !== '')
  const slash = segments.length > 0 && pathname.endsWith('/') ? '/' : ''
  return `/${segments.map(awsEncode).join('/')}${slash}`
}

const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Sorted by name and then by value, as they are when encoded. */
function canonicalQuery(query: URLSearchParams): string {
  const pairs = [...query].map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
  return pairs
    .toSorted(([a, x], [b, y]) => byBytes(a, b) || byBytes(x, y))
    .map((pair) => pair.join('='))
    .join('&')
}

function timestamp(now: number): { date: string; time: string } {
  const time = new Date(now * 1000).toISOString().replaceAll(/[-:]|\.\d{3}/g, '')
  return { date: time.slice(0, 8), time }
}

function signingKey({ credentials, region, service }: AwsRequest, date: string): Buffer {
  const byDate = hmac(`AWS4${credentials.secretAccessKey}`, date)
  return hmac(hmac(hmac(byDate, region), service), 'aws4_request')
}

/** The headers to send beside the signed ones: `authorization`, `x-amz-date` and, where there is one, the session token. */
export function signAwsRequest(request: AwsRequest): Record<string, string> {
  const { method, url, headers, body, region, service, credentials } = request
  const { date, time } = timestamp(request.now)
  const token = credentials.sessionToken
  const added = {
    'x-amz-date': time,
    ...(token === null ? {} : { 'x-amz-security-token': token }),
  }
  const signed = Object.entries({ ...headers, host: url.host, ...added })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replaceAll(/\s+/g, ' ')] as const)
    .toSorted(([a], [b]) => byBytes(a, b))
  const names = signed.map(([name]) => name).join(';')
  const canonical = [
    method,
    canonicalPath(url.pathname),
    canonicalQuery(url.searchParams),
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    sha256(body),
  ].join('\n')
  const scope = `${date}/${region}/${service}/aws4_request`
  const toSign = [ALGORITHM, time, scope, sha256(canonical)].join('\n')
  const signature = hmac(signingKey(request, date), toSign).toString('hex')
  const credential = `${credentials.accessKeyId}/${scope}`
  return {
    ...added,
    authorization: `${ALGORITHM} Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
  }
}
