import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { z } from 'zod'
import { listen, portOf, stop } from '../test/support/ports.ts'
import { hasVectors } from '../test/support/vectors.ts'
import { generatedWork, vectorWork, type Case } from './evidence-cases.ts'
import { generatedGpuWork, vectorGpuWork } from './gpu-cases.ts'
import { generatedNrasWork, vectorNrasWork } from './nras-cases.ts'
import { generatedRimWork, vectorRimWork } from './rim-cases.ts'
import { writeCounts } from './counts.ts'

/*
 * Verifies the same evidence as the tests do, in headless Chromium, with the package as `tsc -b` builds it.
 * The page's imports are resolved by an import map: no bundler stands between what is tested and what is built.
 *
 *   npm run test:browser [-- --outputFile.json=FILE]
 */

const PACKAGE = 'attestation/dist'
/** Where each path of the page comes from. Nothing else is served. */
const MODULES = /^\/(attestation\/dist|node_modules\/(?:zod|jose\/dist\/webapi))\/[\w./-]+\.js$/
const IMPORTS = {
  '@vouchgate/attestation': `/${PACKAGE}/index.js`,
  jose: '/node_modules/jose/dist/webapi/index.js',
  zod: '/node_modules/zod/index.js',
}
// A module that cannot be loaded or throws leaves no answers; then every case has failed.
const PAGE = `<!doctype html><meta charset="utf-8"><title>attestation</title>
<script>
  const fail = () => fetch('/answers', { method: 'POST', body: '[]' })
  addEventListener('error', fail, true)
  addEventListener('unhandledrejection', fail)
</script>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module" src="/page.js"></script>`
const PATIENCE_MS = 180_000
const NO_ANSWER = 'CRASH none'

const print = (line: string): boolean => process.stdout.write(`${line}\n`)
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`

function findChromium(): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const names = ['chromium', 'chromium-browser', 'google-chrome']
  const found = folders.flatMap((folder) => names.map((name) => join(folder, name)))
  return found.find(isExecutable) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Files of the built package that name what only Node has. */
function platformUses(): string[] {
  return readdirSync(PACKAGE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js') || name.endsWith('.d.ts'))
    .filter((name) =>
      /['"]node:|\bBuffer\b|\bprocess\./.test(readFileSync(join(PACKAGE, name), 'utf8')),
    )
}

interface Site {
  readonly server: Server
  readonly answers: Promise<string[]>
  /** Paths of the modules that the page loaded. */
  readonly loaded: Set<string>
}

function serve(cases: readonly Case[]): Site {
  const loaded = new Set<string>()
  const { promise: answers, resolve } = Promise.withResolvers<string[]>()
  const work = JSON.stringify(cases.map((each) => each.work))
  const page = stripTypeScriptTypes(readFileSync('scripts/browser-page.ts', 'utf8'))
  const found = (path: string): readonly [type: string, body: string | Uint8Array] | null => {
    if (path === '/') return ['text/html', PAGE]
    if (path === '/page.js') return ['text/javascript', page]
    if (path === '/work') return ['application/json', work]
    if (!MODULES.test(path) || path.includes('..')) return null
    loaded.add(path)
    return ['text/javascript', readFileSync(`.${path}`)]
  }
  const server = createServer((request: IncomingMessage, response) => {
    if (request.method === 'POST') {
      void text(request).then((body) => resolve(z.array(z.string()).parse(JSON.parse(body))))
      return response.writeHead(204).end()
    }
    const [type, body] = found(request.url ?? '') ?? ['text/plain', null]
    return response.writeHead(body === null ? 404 : 200, { 'content-type': type }).end(body)
  })
  return { server, answers, loaded }
}

/** The answers of the page, in the order of the cases; empty if the page failed or never answered. */
async function runPage(chromium: string, site: Site): Promise<string[]> {
  const profile = mkdtempSync(join(tmpdir(), 'vouchgate-chromium-'))
  await listen(site.server)
  const browser = spawn(
    chromium,
    [
      '--headless',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--user-data-dir=${profile}`,
      // Chromium refuses to run as root inside its sandbox; the page is ours.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      `http://127.0.0.1:${portOf(site.server)}/`,
    ],
    { stdio: 'ignore' },
  )
  const ended = once(browser, 'exit')
  const given = AbortSignal.timeout(PATIENCE_MS)
  try {
    const silent = Promise.race([ended, once(given, 'abort')]).then((): string[] => [])
    return await Promise.race([site.answers, silent])
  } finally {
    browser.kill()
    await ended
    await stop(site.server)
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

function printSizes(loaded: ReadonlySet<string>): void {
  for (const [name, prefix] of Object.entries({
    attestation: `/${PACKAGE}/`,
    zod: '/node_modules/zod/',
    jose: '/node_modules/jose/',
  })) {
    const files = [...loaded].filter((path) => path.startsWith(prefix))
    const bytes = Buffer.concat(files.map((path) => readFileSync(`.${path}`)))
    const gzip = gzipSync(bytes, { level: 9 }).length
    print(`${name}: ${files.length} modules loaded, ${kib(bytes.length)}, ${kib(gzip)} gzipped`)
  }
}

async function main(): Promise<number> {
  const uses = platformUses()
  for (const name of uses) print(`FAILED ${PACKAGE}/${name} names what only Node has`)
  const unbundled = { passed: uses.length === 0 ? 1 : 0, failed: uses.length }
  const chromium = findChromium()
  if (chromium === null) {
    print('SKIPPED: no chromium on the PATH; nothing ran in a browser')
    writeCounts({ ...unbundled, skipped: 1 })
    return uses.length === 0 ? 0 : 1
  }
  const cases = [
    ...(await generatedWork()),
    ...generatedRimWork(),
    ...generatedGpuWork(),
    ...(await generatedNrasWork()),
    ...vectorWork(),
    ...vectorRimWork(),
    ...vectorGpuWork(),
    ...vectorNrasWork(),
  ]
  const site = serve(cases)
  const answers = await runPage(chromium, site)
  const failed = cases.filter(({ want }, at) => !want.test(answers[at] ?? NO_ANSWER))
  for (const each of failed) {
    const seen = answers[cases.indexOf(each)] ?? NO_ANSWER
    print(`FAILED ${each.name}: ${seen.split(' ').slice(0, 2).join(' ')}, wanted ${each.want}`)
  }
  printSizes(site.loaded)
  if (!hasVectors) print('SKIPPED: the vectors, VOUCHGATE_VECTORS is not set')
  const counts = {
    passed: unbundled.passed + cases.length - failed.length,
    failed: unbundled.failed + failed.length,
    skipped: hasVectors ? 0 : 1,
  }
  writeCounts(counts)
  print(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  return counts.failed === 0 ? 0 : 1
}

process.exitCode = await main()
