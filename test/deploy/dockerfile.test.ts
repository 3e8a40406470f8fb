import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { copiedPaths, lintDockerfile, parseDockerfile, RULES } from './dockerfile.ts'

const root = new URL('../../', import.meta.url)
const text = readFileSync(new URL('Dockerfile.tdx', root), 'utf8')
const ignore = readFileSync(new URL('Dockerfile.tdx.dockerignore', root), 'utf8')

const BREACHES: readonly (readonly [rule: string, from: string | RegExp, to: string])[] = [
  ['every base is an official Node 26 by its digest', /@sha256:[0-9a-f]{64}/g, ''],
  [
    'every base is an official Node 26 by its digest',
    /node:26\.\d+\.\d+-bookworm-slim/g,
    'node:latest',
  ],
  ['every base is an official Node 26 by its digest', /docker\.io\/library\//g, 'mirror.example/'],
  ['every stage has the same base', /@sha256:\w{4}/, '@sha256:0000'],
  ['files come from the checkout or a stage', 'EXPOSE 8443', 'ADD https://example.com/x /app/x'],
  ['the runtime stage copies what nobody may change', 'COPY --chmod=0555 src', 'COPY src'],
  ['the runtime stage copies what nobody may change', '--chmod=0555 src', '--chmod=0777 src'],
  ['no copy takes the whole checkout', 'COPY --chmod=0555 src src/', 'COPY --chmod=0555 . ./'],
  ['dependencies are the locked production ones, without scripts', 'npm ci', 'npm install'],
  ['dependencies are the locked production ones, without scripts', ' --omit=dev', ''],
  ['dependencies are the locked production ones, without scripts', ' --ignore-scripts', ''],
  ['nothing is downloaded but by npm', 'RUN rm -rf', 'RUN apt-get update && rm -rf'],
  ['nothing is downloaded but by npm', 'RUN rm -rf', 'RUN curl https://example.com; rm -rf'],
  ['no variable is a secret', 'ARG REVISION', 'ARG NPM_TOKEN'],
  ['no variable is a secret', 'EXPOSE 8443', 'ENV OPENAI_API_KEY=x'],
  ['the user is not root, by number', 'USER 1000:1000', 'USER 0:0'],
  ['the user is not root, by number', 'USER 1000:1000', 'USER node'],
  ['the user is not root, by number', 'USER 1000:1000', ''],
  ['nothing is run after the user is set', 'EXPOSE 8443', 'RUN true'],
  ['the entry point is the launcher, in exec form', /ENTRYPOINT .*/, 'ENTRYPOINT sh launch.sh'],
  ['the entry point is the launcher, in exec form', /CMD .*/, 'CMD --config /x'],
  ['the image says what it is', 'image.revision=', 'image.other='],
]

describe('Dockerfile.tdx', () => {
  test('keeps every rule', () => {
    expect(lintDockerfile(text)).toEqual([])
  })

  test.each(BREACHES)('%s: a breach by %s is seen', (rule, from, to) => {
    const broken = text.replace(from, to)
    expect(broken).not.toBe(text)
    expect(lintDockerfile(broken)).toContain(rule)
  })

  test('every rule has a breach', () => {
    expect(new Set(BREACHES.map(([rule]) => rule))).toEqual(new Set(Object.keys(RULES)))
  })

  test('its context is a list of what it copies, and nothing else', () => {
    const copied = copiedPaths(text).flatMap(({ from }) => from)
    const allowed = ignore.split('\n').filter((line) => line.startsWith('!'))
    const top = copied.filter((path) => !copied.some((other) => path.startsWith(`${other}/`)))
    expect(ignore.split('\n').find((line) => !line.startsWith('#'))).toBe('*')
    expect(new Set(allowed)).toEqual(new Set(top.map((path) => `!${path}`)))
  })

  test('the comments and continuation lines of a Dockerfile are read as Docker reads them', () => {
    expect(parseDockerfile('# c\nRUN a \\\n  # in between\n  b\n\nuser 1:1\n')).toEqual([
      { name: 'RUN', args: 'a b' },
      { name: 'USER', args: '1:1' },
    ])
  })
})
