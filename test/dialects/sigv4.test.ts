import { createHash, createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { signAwsRequest, type AwsRequest } from '../../src/dialects/bedrock/sigv4.ts'

/** The identity, time and place of AWS's published examples. */
const EXAMPLE = {
  region: 'us-east-1',
  service: 'service',
  credentials: {
    accessKeyId: 'AKIDEXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    sessionToken: null,
  },
  now: Date.UTC(2015, 7, 30, 12, 36, 0) / 1000,
  body: new Uint8Array(0),
  headers: {},
} as const

const sign = (method: string, path: string, rest: Partial<AwsRequest> = {}) =>
  signAwsRequest({
    ...EXAMPLE,
    method,
    url: new URL(`https://example.amazonaws.com${path}`),
    ...rest,
  })

const form = {
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: Buffer.from('Param1=value1'),
}

/** Signatures that AWS publishes for these requests. */
const PUBLISHED: readonly (readonly [string, string, string, Partial<AwsRequest>, string])[] = [
  [
    'get-vanilla',
    'GET',
    '/',
    {},
    '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
  ],
  [
    'post-vanilla',
    'POST',
    '/',
    {},
    '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
  ],
  [
    'get-vanilla-query-order-key-case',
    'GET',
    '/?Param2=value2&Param1=value1',
    {},
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  [
    'get-vanilla-utf8-query',
    'GET',
    '/?ሴ=bar',
    {},
    '2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04',
  ],
  [
    'get-vanilla-query-unreserved',
    'GET',
    '/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
    {},
    '9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197',
  ],
  [
    'get-header-value-trim',
    'GET',
    '/',
    { headers: { 'my-header1': ' value1', 'my-header2': ' "a   b   c"' } },
    'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
  ],
  [
    'post-header-key-sort',
    'POST',
    '/',
    { headers: { 'my-header1': 'value1' } },
    'c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c',
  ],
  [
    'post-x-www-form-urlencoded',
    'POST',
    '/',
    form,
    'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  ],
  [
    'get-slashes',
    'GET',
    '//example//',
    {},
    '9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84',
  ],
  [
    'get-relative',
    'GET',
    '/example/..',
    {},
    '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
  ],
  [
    'iam-list-users',
    'GET',
    '',
    {
      service: 'iam',
      url: new URL('https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08'),
      headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
    },
    '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  ],
]

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Of an empty POST to a path as it stands in the canonical request, after the five steps of AWS's description. */
function signatureOf(path: string): string {
  const host = 'host:example.amazonaws.com\nx-amz-date:20150830T123600Z\n'
  const canonical = `POST\n${path}\n\n${host}\nhost;x-amz-date\n${sha256('')}`
  const scope = '20150830/us-east-1/service/aws4_request'
  const steps = ['20150830', 'us-east-1', 'service', 'aws4_request']
  let key: string | Buffer = `AWS4${EXAMPLE.credentials.secretAccessKey}`
  for (const step of steps) key = hmac(key, step)
  return hmac(key, `AWS4-HMAC-SHA256\n20150830T123600Z\n${scope}\n${sha256(canonical)}`).toString(
    'hex',
  )
}

describe('a request to AWS', () => {
  test.each(PUBLISHED)('%s has the published signature', (...example) => {
    const [, method, path, rest, signature] = example
    expect(sign(method, path, rest)['authorization']).toContain(`Signature=${signature}`)
  })

  test('says what was signed and with which key', () => {
    const headers = sign('POST', '/', form)
    expect(headers['x-amz-date']).toBe('20150830T123600Z')
    expect(headers['authorization']).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20150830\/us-east-1\/service\/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=[0-9a-f]{64}$/,
    )
    expect(headers).not.toHaveProperty('x-amz-security-token')
  })

  test('with temporary credentials carries and signs the token', () => {
    const credentials = { ...EXAMPLE.credentials, sessionToken: 'token' }
    const headers = sign('POST', '/', { credentials })
    expect(headers['x-amz-security-token']).toBe('token')
    expect(headers['authorization']).toContain(
      'SignedHeaders=host;x-amz-date;x-amz-security-token,',
    )
    expect(headers['authorization']).not.toBe(sign('POST', '/')['authorization'])
  })

  // A server that encodes the path as it came, once more, must come to the same signature.
  test('is signed over the path encoded twice', () => {
    const sent = sign('POST', '/model/a%3A0/converse')['authorization']
    expect(sent).not.toBe(sign('POST', '/model/a:0/converse')['authorization'])
    expect(sent?.slice(-64)).toBe(signatureOf('/model/a%253A0/converse'))
  })

  test.each([
    ['method', { method: 'PUT' }],
    ['host', { url: new URL('https://other.amazonaws.com/') }],
    ['query', { url: new URL('https://example.amazonaws.com/?a=1') }],
    ['body', { body: Buffer.from('x') }],
    ['header', { headers: { 'content-type': 'text/plain' } }],
    ['region', { region: 'eu-west-1' }],
    ['service', { service: 'bedrock' }],
    ['time', { now: EXAMPLE.now + 1 }],
    ['key', { credentials: { ...EXAMPLE.credentials, secretAccessKey: 'other' } }],
  ])('has another signature with another %s', (_, rest) => {
    const signature = (headers: Record<string, string>) => headers['authorization']?.slice(-64)
    expect(signature(sign('POST', '/', rest))).not.toBe(signature(sign('POST', '/')))
  })
})
