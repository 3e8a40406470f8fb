import {
  bindGpuEvidence,
  checkGpuPlatform,
  isVerificationError,
  parseGpuEvidence,
  sha256,
  testPkiRoot,
  verifyGpuEvidence,
  verifyQuote,
  type Bytes,
  type GenuineGpuEvidence,
  type GenuineQuote,
  type GpuBindingRule,
  type GpuPlatform,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { TEST_TIME } from '../support/clock.ts'
import { concat } from '../support/der.ts'
import {
  evidenceItem,
  evidenceList,
  newChassis,
  newGpu,
  newNvidiaVendor,
  newSwitch,
  type SimulatedDevice,
} from '../support/nvidia-gpu.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = newNvidiaVendor()
const { roots } = vendor.pki
const nonce = new Uint8Array(32).fill(7)

const genuine = async (devices: readonly SimulatedDevice[], text = evidenceList(devices, nonce)) =>
  verifyGpuEvidence({ evidence: parseGpuEvidence(text), nonce, now: TEST_TIME, roots })

const outcome = async (devices: readonly SimulatedDevice[]): Promise<GpuPlatform | string> => {
  const evidence = await genuine(devices)
  try {
    return checkGpuPlatform(evidence)
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return error.code
  }
}

const changed = (
  devices: readonly SimulatedDevice[],
  at: number,
  id: number,
  data: Uint8Array,
): readonly SimulatedDevice[] => {
  devices[at]?.opaque.set(id, data)
  return devices
}

describe('one machine', () => {
  test('a GPU alone', async () => {
    expect(await outcome([newGpu(vendor)])).toEqual({
      mode: 'spt',
      gpus: 1,
      switches: 0,
      switchEvidence: 'not-needed',
    })
  })

  test('GPUs and switches that name each other', async () => {
    expect(await outcome(newChassis(vendor, 3, 2))).toEqual({
      mode: 'ppcie',
      gpus: 3,
      switches: 2,
      switchEvidence: 'verified',
    })
  })

  test('GPUs in protected PCIe mode whose switches are not shown', async () => {
    const gpus = newChassis(vendor, 2, 2).slice(0, 2)
    expect(await outcome(gpus)).toMatchObject({ mode: 'ppcie', switchEvidence: 'absent' })
  })

  test('a switch alone has no mode', async () => {
    const [pdi] = [new Uint8Array(8).fill(3)]
    expect(await outcome([newSwitch(vendor, [pdi])])).toMatchObject({ mode: null, gpus: 0 })
  })

  test.each([
    ['drivers', () => [newGpu(vendor), newGpu(vendor, 'HOPPER', { driver: '550.90.07' })]],
    ['chips', () => [newGpu(vendor), newGpu(vendor, 'BLACKWELL', { driver: '580.95.05' })]],
    ['modes', () => [newGpu(vendor), newGpu(vendor, 'HOPPER', { feature: 1 })]],
  ])('of two %s', async (_name, devices) => {
    expect(await outcome(devices())).toBe('gpu_platform_mixed')
  })

  test('GPUs that name different switches', async () => {
    const [a, b] = [newChassis(vendor, 1, 2), newChassis(vendor, 1, 2)]
    expect(await outcome([...a.slice(0, 1), ...b.slice(0, 1)])).toBe('gpu_switch_names_differ')
  })

  test('protected PCIe mode without a switch, and switches without that mode', async () => {
    expect(
      await outcome(
        changed([newGpu(vendor, 'HOPPER', { feature: null })], 0, 21, Uint8Array.of(0xaa)),
      ),
    ).toBe('gpu_switch_names_differ')
    const named = concat(new Uint8Array(8).fill(5), new Uint8Array(136))
    expect(await outcome(changed([newGpu(vendor)], 0, 22, named))).toBe('gpu_switch_names_differ')
  })

  test('a switch whose identity is not the certified one', async () => {
    const devices = changed(newChassis(vendor, 1, 1), 1, 22, new Uint8Array(8).fill(9))
    expect(await outcome(devices)).toBe('gpu_switch_pdi_mismatch')
  })

  test('a switch that is not locked', async () => {
    const devices = changed(newChassis(vendor, 1, 1), 1, 25, Uint8Array.of(2, 0))
    expect(await outcome(devices)).toBe('gpu_switch_unlocked')
  })

  test.each([
    [
      'a switch of another chassis',
      () => [...newChassis(vendor, 1, 1).slice(0, 1), ...newChassis(vendor, 1, 1).slice(1)],
    ],
    ['one switch of two', () => newChassis(vendor, 1, 2).slice(0, 2)],
    ['one GPU of two', () => newChassis(vendor, 2, 1).slice(1)],
    ['a switch beside a GPU that needs none', () => [newGpu(vendor), newSwitch(vendor, [])]],
  ])('%s', async (_name, devices) => {
    expect(await outcome(devices())).toBe('gpu_switch_topology_mismatch')
  })

  test('a switch that names other GPUs', async () => {
    const other = concat(new Uint8Array(8).fill(4), new Uint8Array(120))
    const devices = changed(newChassis(vendor, 1, 1), 1, 26, other)
    expect(await outcome(devices)).toBe('gpu_switch_topology_mismatch')
  })
})

describe('binding to the CPU', async () => {
  const tee = createTeeVendor()
  const quoteWith = async (reportData: Uint8Array) => {
    const quote = await tee.quote({ reportData })
    const trustedRoot = await testPkiRoot(tee.rootPem)
    return verifyQuote({ quote, collateral: tee.collateral(), now: tee.now, trustedRoot })
  }
  const gpu = newGpu(vendor)
  const evidence = await genuine([gpu])
  const elsewhere = new Uint8Array(32).fill(1)
  const bound = async (reportData: Uint8Array, rule: GpuBindingRule): Promise<string> => {
    try {
      const { kind, strength } = await bindGpuEvidence(evidence, await quoteWith(reportData), rule)
      return `${kind} ${strength}`
    } catch (error) {
      if (!isVerificationError(error)) throw error
      return `${error.step} ${error.code}`
    }
  }
  const REFUSED = 'gpu_binding gpu_binding_mismatch'

  test('none is named as none', async () => {
    expect(await bound(concat(elsewhere, elsewhere), { kind: 'none' })).toBe('none none')
  })

  test('a shared nonce is weak', async () => {
    const rule = { kind: 'shared-nonce' } as const
    expect(await bound(concat(elsewhere, nonce), rule)).toBe('shared-nonce weak')
    expect(await bound(concat(nonce, elsewhere), rule)).toBe(REFUSED)
  })

  test('a nonce that is a half of the report data', async () => {
    const first = { kind: 'nonce-from-report-data', half: 'first' } as const
    const second = { ...first, half: 'second' } as const
    expect(await bound(concat(nonce, elsewhere), first)).toBe('nonce-from-report-data strong')
    expect(await bound(concat(elsewhere, nonce), second)).toBe('nonce-from-report-data strong')
    expect(await bound(concat(elsewhere, nonce), first)).toBe(REFUSED)
    expect(await bound(concat(nonce, elsewhere), second)).toBe(REFUSED)
  })

  describe('the hash of the evidence', async () => {
    const document = (of: readonly SimulatedDevice[]): Bytes =>
      Uint8Array.from(
        Buffer.from(
          JSON.stringify({
            evidences: of.map(({ answer, pem, arch }) => evidenceItem(answer(nonce), pem, arch)),
          }),
        ),
      )
    const gpuDocument = document([gpu])
    const shown = await genuine([gpu], Buffer.from(gpuDocument).toString())
    const prefix = new Uint8Array(96).fill(6)
    const reportData = async (...documents: Bytes[]): Promise<Bytes> =>
      concat(
        await sha256(concat(prefix, ...(await Promise.all(documents.map(sha256))))),
        new Uint8Array(32),
      )
    const rule = (...documents: Bytes[]): GpuBindingRule => ({
      kind: 'evidence-hash',
      prefix,
      documents,
    })
    const code = async (data: Uint8Array, by: GpuBindingRule): Promise<string> => {
      try {
        return (await bindGpuEvidence(shown, await quoteWith(data), by)).strength
      } catch (error) {
        if (!isVerificationError(error)) throw error
        return error.code
      }
    }

    test('binds the very documents', async () => {
      expect(await code(await reportData(gpuDocument), rule(gpuDocument))).toBe('strong')
    })

    test('of other evidence, of other keys, or beside something else', async () => {
      const other = document([newGpu(vendor)])
      const mismatch = 'gpu_binding_mismatch'
      expect(await code(await reportData(other), rule(gpuDocument))).toBe(mismatch)
      expect(await code(await reportData(other), rule(other))).toBe(mismatch)
      expect(await code(await reportData(), rule())).toBe(mismatch)
      expect(await code(await reportData(gpuDocument, other), rule(gpuDocument, other))).toBe(
        mismatch,
      )
      const tail = (await reportData(gpuDocument)).fill(1, 63)
      expect(await code(tail, rule(gpuDocument))).toBe(mismatch)
      const keys = { ...rule(gpuDocument), prefix: new Uint8Array(96) } as const
      expect(await code(await reportData(gpuDocument), keys)).toBe(mismatch)
    })
  })

  test('needs verified evidence on both sides', async () => {
    const fakeQuote: GenuineQuote = JSON.parse('{"reportData":{}}')
    const fakeEvidence: GenuineGpuEvidence = JSON.parse('{"nonce":"","devices":[]}')
    const quote = await quoteWith(concat(nonce, nonce))
    const rule = { kind: 'none' } as const
    await expect(bindGpuEvidence(evidence, fakeQuote, rule)).rejects.toThrow(TypeError)
    await expect(bindGpuEvidence(fakeEvidence, quote, rule)).rejects.toThrow(TypeError)
  })
})
