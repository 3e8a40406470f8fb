import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { isWithin, named, placeOf, refusals, suitesFor } from '../scripts/removals.ts'
import { EQUIVALENT } from '../scripts/steps-equivalent.ts'
import { STEPS, SUITES } from '../scripts/steps.ts'

const tests = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => `test/${file}`)

/** What `npm run test:steps` removes is named by its text, which moves: here that shows in a second, there after an hour. */
describe('the lists of steps', () => {
  test.each(STEPS)('name in %s a text that stands there once: %s', (...step) => {
    expect(suitesFor(named(step).file)).not.toEqual([])
  })

  test('name no step twice', () => {
    const removed = STEPS.map((step) => JSON.stringify(step))
    expect(removed.filter((step, at) => removed.indexOf(step) !== at)).toEqual([])
  })

  test.each(SUITES)('know %s and its tests, and no earlier prefix hides it', (prefix, suites) => {
    expect(existsSync(prefix)).toBe(true)
    for (const suite of suites) expect(tests.filter((file) => file.includes(suite))).not.toEqual([])
    expect(SUITES.find(([earlier]) => prefix.startsWith(earlier))?.[0]).toBe(prefix)
    expect(SUITES.filter(([other]) => other === prefix)).toHaveLength(1)
  })

  test.each(EQUIVALENT)('leave out one check of %s: %s', (file, text) => {
    const place = placeOf([file, text])
    const checks = [...refusals(file), ...STEPS.filter(([each]) => each === file).map(named)]
    expect(checks.filter((each) => isWithin(each, place))).toHaveLength(1)
  })
})
