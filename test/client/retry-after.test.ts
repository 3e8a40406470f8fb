import { expect, test } from 'vitest'
import { retryAfter } from '../../client/retry-after.ts'
import { withWait } from '../../src/upstream/classify.ts'
import { TEST_TIME } from '../support/clock.ts'

const dated = (seconds: number) => new Date((TEST_TIME + seconds) * 1000).toUTCString()

test.each<[Record<string, string>, number | null]>([
  [{ 'retry-after': '7' }, 7],
  [{ 'retry-after': '0' }, 0],
  [{ 'retry-after': '0.2' }, 1],
  [{ 'retry-after': '7200' }, 3600],
  [{ 'retry-after-ms': '1200' }, 2],
  [{ 'retry-after-ms': '0' }, 0],
  [{ 'retry-after-ms': '999999999' }, 3600],
  [{ 'retry-after-ms': '1500.5', 'retry-after': '24' }, 2],
  [{ 'retry-after-ms': 'soon', 'retry-after': '24' }, 24],
  [{ 'retry-after': dated(90) }, 90],
  [{ 'retry-after': dated(0) }, 0],
  [{ 'retry-after': dated(-90) }, 0],
  [{ 'retry-after': dated(86_400) }, 3600],
  [{ 'retry-after': 'Fri, 20 Nov 2026 00:01:30 GMT' }, 90],
  [{ 'retry-after': 'Sat, 20 Nov 2026 00:01:30 GMT' }, null],
  [{ 'retry-after': 'Fri, 31 Nov 2026 00:01:30 GMT' }, null],
  [{ 'retry-after': 'Fri, 20 Nov 2026 00:01:30' }, null],
  [{ 'retry-after': 'Friday, 20-Nov-26 00:01:30 GMT' }, null],
  [{ 'retry-after': '2026-11-20T00:01:30Z' }, null],
  [{ 'retry-after': '-1' }, null],
  [{ 'retry-after': '1e3' }, null],
  [{ 'retry-after': '0x10' }, null],
  [{ 'retry-after': ' ' }, null],
  [{ 'retry-after': '' }, null],
  [{ 'retry-after-ms': '' }, null],
  [{ 'retry-after': '9999999999' }, null],
  [{ 'retry-after': 'Infinity' }, null],
  [{}, null],
])('%j asks for %s seconds', (headers, seconds) => {
  expect(retryAfter(headers, TEST_TIME)).toBe(seconds)
})

test.each<[Record<string, string>, Record<string, string>]>([
  [
    { 'retry-after': '7.1', etag: 'x' },
    { 'retry-after': '8', etag: 'x' },
  ],
  [{ 'retry-after-ms': '10', 'retry-after': '9' }, { 'retry-after': '1' }],
  [{ 'retry-after': dated(999_999) }, { 'retry-after': '86400' }],
  [{ 'retry-after': 'soon', 'retry-after-ms': 'soon' }, {}],
  [{ etag: 'x' }, { etag: 'x' }],
])('of %j a dialect reads %j', (headers, read) => {
  expect(withWait(headers, TEST_TIME)).toEqual(read)
})
