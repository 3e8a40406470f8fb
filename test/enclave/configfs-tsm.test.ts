import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseQuote, type Bytes } from '@vouchgate/attestation'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configfsTsmSource } from '../../enclave/configfs-tsm.ts'
import { nodeTsmFiles } from '../../enclave/tsm-files.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { fakeKernel } from './fake-kernel.ts'

const vendor = createTeeVendor()
const reportData = new Uint8Array(64).fill(0x5a)
const other = new Uint8Array(64).fill(0x11)

const start = (quote = (asked: Bytes) => vendor.quote({ reportData: asked })) => {
  const kernel = fakeKernel(quote)
  const source = configfsTsmSource({ root: '/tsm', files: kernel.files, pause: kernel.pause })
  return { kernel, source }
}

describe('configfs-tsm', () => {
  test('gives the quote over the report data', async () => {
    const { source } = start()
    const { quote, eventLog, vmConfig } = await source.quote(reportData)
    expect(parseQuote(quote).body.report.reportData).toEqual(reportData)
    expect([eventLog, vmConfig]).toEqual([null, null])
  })

  test('uses an entry of its own per request and removes it', async () => {
    const { kernel, source } = start()
    await Promise.all([source.quote(reportData), source.quote(other)])
    expect(kernel.made.every((path) => path.startsWith('/tsm/vouchgate-'))).toBe(true)
    expect(new Set(kernel.made).size).toBe(2)
    expect(kernel.open.size).toBe(0)
  })

  test('quotes what was asked although the caller reuses the buffer', async () => {
    const { source } = start()
    const buffer = Uint8Array.from(reportData)
    const pending = source.quote(buffer)
    buffer.fill(0)
    expect(parseQuote((await pending).quote).body.report.reportData).toEqual(reportData)
  })

  test('report data of another length is a TypeError', async () => {
    const { source } = start()
    await expect(source.quote(new Uint8Array(63))).rejects.toThrow(TypeError)
  })

  test('tries again with growing pauses while the device is busy', async () => {
    const { kernel, source } = start()
    kernel.faults.outblob.push('EBUSY', 'EINTR', 'EBUSY')
    await source.quote(reportData)
    expect(kernel.pauses).toEqual([100, 200, 400])
    expect(new Set(kernel.made).size).toBe(4)
    expect(kernel.open.size).toBe(0)
  })

  test('a device that stays busy is quote_busy with a time to come back', async () => {
    const { kernel, source } = start()
    kernel.faults.outblob.push(...Array.from({ length: 6 }, () => 'EBUSY'))
    await expect(source.quote(reportData)).rejects.toMatchObject({
      code: 'quote_busy',
      retryAfterSeconds: 5,
    })
    expect(kernel.pauses.length).toBe(5)
    expect(kernel.open.size).toBe(0)
  })

  test('a quote during which the generation moved is not used', async () => {
    const { kernel, source } = start()
    kernel.faults.interferences = 1
    await source.quote(reportData)
    expect(kernel.made.length).toBe(2)
  })

  test('an entry that another writer keeps changing is quote_interference', async () => {
    const { kernel, source } = start()
    kernel.faults.interferences = 6
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_interference' })
    expect(kernel.open.size).toBe(0)
  })

  test.each(['EAGAIN', 'EINVAL'])('%s on the read is tried again', async (errno) => {
    const { kernel, source } = start()
    kernel.faults.outblob.push(errno)
    await source.quote(reportData)
    expect(kernel.made.length).toBe(2)
  })

  test('a name that is taken is tried again under another', async () => {
    const { kernel, source } = start()
    kernel.faults.mkdir.push('EEXIST')
    await source.quote(reportData)
    expect(kernel.made.length).toBe(1)
  })

  test.each([
    ['ETIMEDOUT', 'quote_timeout'],
    ['EIO', 'quote_unavailable'],
    ['EFBIG', 'quote_unavailable'],
  ])('%s of the quoting service is %s at once', async (errno, code) => {
    const { kernel, source } = start()
    kernel.faults.outblob.push(errno)
    await expect(source.quote(reportData)).rejects.toMatchObject({ code })
    expect(kernel.pauses).toEqual([])
    expect(kernel.open.size).toBe(0)
  })

  test.each(['ENXIO', 'EACCES', 'ENOENT'])('%s of mkdir is quote_unavailable', async (errno) => {
    const { kernel, source } = start()
    kernel.faults.mkdir.push(errno)
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_unavailable' })
  })

  test('a provider other than tdx_guest is quote_provider_unsupported', async () => {
    const { kernel, source } = start()
    kernel.faults.provider = 'sev_guest\n'
    await expect(source.quote(reportData)).rejects.toMatchObject({
      code: 'quote_provider_unsupported',
    })
    expect(kernel.open.size).toBe(0)
  })

  test('a generation that is not a number is quote_malformed', async () => {
    const { kernel, source } = start()
    kernel.faults.generation = 'seven\n'
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_malformed' })
  })

  test('a quote over other report data is quote_mismatch', async () => {
    const { source } = start(() => vendor.quote({ reportData: other }))
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_mismatch' })
  })

  test('a quote of an SGX enclave over the same report data is quote_malformed', async () => {
    const { source } = start((asked) =>
      vendor.quote({
        reportData: asked,
        teeType: 0,
        afterSigning: (quote) => {
          const sgxReport = new Uint8Array(384)
          sgxReport.set(asked, 320)
          return Buffer.concat([quote.subarray(0, 48), sgxReport, quote.subarray(48 + 584)])
        },
      }),
    )
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_malformed' })
  })

  test('bytes that are no TDX quote are quote_malformed', async () => {
    const { source } = start(async () => new Uint8Array(100))
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_malformed' })
  })

  test('errors carry neither paths nor the system error', async () => {
    const { kernel, source } = start()
    kernel.faults.mkdir.push('EACCES')
    const error: unknown = await source.quote(reportData).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'EnclaveError' })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('canary-path')
    expect(error).not.toHaveProperty('cause')
  })

  test('without configfs the default is quote_unavailable', async () => {
    const source = configfsTsmSource({ root: '/nonexistent/tsm/report' })
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_unavailable' })
  })
})

describe('the file operations', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vouchgate-tsm-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('read a file of unknown size to its end', async () => {
    const text = await nodeTsmFiles.read('/proc/self/status', 1 << 16)
    expect(Buffer.from(text).toString()).toContain('NoNewPrivs')
  })

  test('refuse a file longer than the limit', async () => {
    await writeFile(join(folder, 'long'), new Uint8Array(65))
    await expect(nodeTsmFiles.read(join(folder, 'long'), 64)).rejects.toMatchObject({
      code: 'quote_malformed',
    })
    expect((await nodeTsmFiles.read(join(folder, 'long'), 65)).length).toBe(65)
  })

  test('write into an attribute that exists and create none', async () => {
    await writeFile(join(folder, 'inblob'), '')
    await nodeTsmFiles.writeOnce(join(folder, 'inblob'), reportData)
    expect(Uint8Array.from(await readFile(join(folder, 'inblob')))).toEqual(reportData)
    await expect(nodeTsmFiles.writeOnce(join(folder, 'absent'), reportData)).rejects.toMatchObject({
      code: 'ENOENT',
    })
  })

  test('make and remove a directory', async () => {
    await nodeTsmFiles.mkdir(join(folder, 'entry'))
    await expect(nodeTsmFiles.mkdir(join(folder, 'entry'))).rejects.toMatchObject({
      code: 'EEXIST',
    })
    await nodeTsmFiles.rmdir(join(folder, 'entry'))
  })
})
