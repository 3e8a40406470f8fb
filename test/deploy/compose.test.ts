import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'

const FILE = new URL('../../deploy/dstack/docker-compose.yaml', import.meta.url)
const text = readFileSync(FILE, 'utf8')

const DIGEST = 'a'.repeat(64)
const filled = text.replace('REPLACE-WITH-THE-DIGEST-OF-YOUR-BUILD', DIGEST)

/** What the compose file must say. Strict: a new member is a decision to write down here. */
const service = z.strictObject({
  image: z.string().regex(/^[^$@]+@sha256:[0-9a-f]{64}$/),
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string().regex(/^\$\{[A-Z_]+:\?/)),
  user: z.literal('1000:1000'),
  ports: z.tuple([z.literal('8443:8443')]),
  volumes: z.tuple([
    z.strictObject({
      type: z.literal('bind'),
      source: z.literal('/var/run/dstack.sock'),
      target: z.literal('/var/run/dstack.sock'),
      read_only: z.literal(true),
      bind: z.strictObject({ create_host_path: z.literal(false) }),
    }),
  ]),
  read_only: z.literal(true),
  tmpfs: z.array(z.string().regex(/noexec,nosuid,nodev,size=/)),
  cap_drop: z.tuple([z.literal('ALL')]),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]),
  ulimits: z.strictObject({ core: z.literal(0) }),
  mem_limit: z.string(),
  memswap_limit: z.string(),
  mem_swappiness: z.literal(0),
  pids_limit: z.number(),
  logging: z.strictObject({ driver: z.literal('none') }),
  stop_grace_period: z.string(),
  restart: z.literal('unless-stopped'),
})
const compose = z.strictObject({ services: z.strictObject({ vouchgate: service }) })

const accepts = (candidate: string): boolean => compose.safeParse(parse(candidate)).success

describe('the compose file for dstack', () => {
  test('is refused until the digest of the image is filled in', () => {
    expect(accepts(text)).toBe(false)
    expect(accepts(filled)).toBe(true)
  })

  test.each([
    ['an image by a tag', `@sha256:${DIGEST}`, ':latest'],
    ['an image by a variable', /image: .*/, 'image: ${IMAGE}'],
    ['a writable root', 'read_only: true\n    tmpfs', 'read_only: false\n    tmpfs'],
    ['a disk', 'volumes:', 'volumes:\n      - data:/data'],
    ['capabilities', 'cap_drop: [ALL]', 'cap_drop: []'],
    ['privileges to gain', 'no-new-privileges:true', 'seccomp:unconfined'],
    ['an executable tmpfs', 'noexec,', ''],
    ['kept logs', 'driver: none', 'driver: json-file'],
    ['swap', 'mem_swappiness: 0', 'mem_swappiness: 60'],
    ['cores', 'core: 0', 'core: -1'],
    ['root', "user: '1000:1000'", "user: '0:0'"],
    ['a secret in the file', /\$\{PROVIDER_API_KEY.*\}/, 'sk-literal'],
    ['a privileged container', 'pids_limit: 128', 'privileged: true'],
  ])('does not allow %s', (_what, from, to) => {
    const changed = filled.replace(from, to)
    expect(changed).not.toBe(filled)
    expect(accepts(changed)).toBe(false)
  })

  test('gives the container no swap and passes on only the secrets it names', () => {
    const { vouchgate } = compose.parse(parse(filled)).services
    expect(vouchgate.memswap_limit).toBe(vouchgate.mem_limit)
    const passed = vouchgate.command.filter((_, index) => vouchgate.command[index - 1] === '--env')
    expect(passed).toEqual(Object.keys(vouchgate.environment))
  })
})
