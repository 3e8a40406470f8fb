import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CLEAN_PATH,
  copyContext,
  DOCKERFILE,
  ended,
  ROOT,
  spawnIn,
  type Ended,
} from './clean-folder.ts'
import { parseDockerfile } from './dockerfile.ts'

const UNREACHABLE =
  /\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|E50[234])\b/
/** How this machine reaches the registry; a builder has its own way. */
const NETWORK = ['NODE_EXTRA_CA_CERTS', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']

const command =
  parseDockerfile(DOCKERFILE).find(({ args }) => args.startsWith('npm ci'))?.args ?? ''
const hasCommandLine = existsSync(join(ROOT, 'cli/main.ts'))

let folder = ''
let home = ''
let installed: Ended = { status: null, out: '', err: '' }

beforeAll(async () => {
  folder = copyContext()
  home = mkdtempSync(join(tmpdir(), 'vouchgate-home-'))
  const env: Record<string, string> = { PATH: CLEAN_PATH, HOME: home }
  for (const name of NETWORK) env[name] = process.env[name] ?? ''
  const cached = ['--prefer-offline', '--cache', await npmCache()]
  installed = await ended(spawnIn(folder, [...command.split(' '), ...cached], env))
}, 300_000)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  rmSync(home, { recursive: true, force: true })
})

/** npm's own cache, so that packages already fetched are not fetched again. */
async function npmCache(): Promise<string> {
  const env = { PATH: process.env['PATH'] ?? CLEAN_PATH, HOME: process.env['HOME'] ?? '/' }
  const { out } = await ended(spawnIn(tmpdir(), ['npm', 'config', 'get', 'cache'], env))
  return out.trim()
}

const isOffline = (): boolean => installed.status !== 0 && UNREACHABLE.test(installed.err)

describe('the steps of the image, in a clean folder with an emptied environment', () => {
  test('the locked production packages install, without tools or a second node', (context) => {
    if (isOffline()) context.skip('the npm registry cannot be reached')
    expect(installed).toMatchObject({ status: 0, err: expect.not.stringContaining('npm error') })
    const packages = readdirSync(join(folder, 'node_modules'))
    const tools = /^(?:node-linux|vitest|typescript|oxlint|oxfmt|knip|openai)/
    expect(packages).toContain('fastify')
    expect(packages.filter((name) => tools.test(name))).toEqual([])
  })

  test.skipIf(!hasCommandLine)('the gateway loads under the launcher', async (context) => {
    if (isOffline()) context.skip('the npm registry cannot be reached')
    const launcher = ['/bin/sh', join(folder, 'scripts/launch.sh'), '--', 'serve', '--help']
    const help = await ended(spawnIn('/', launcher, { PATH: CLEAN_PATH }))
    expect(help).toMatchObject({ status: 0, err: '', out: expect.stringContaining('--config') })
  })
})
