import {
  compareMeasurements,
  EvidenceError,
  matchRims,
  parseGpuEvidence,
  verifyGpuEvidence,
  verifyRim,
  encodeUtf8,
  type Bytes,
  type GenuineRim,
  type MeasuredDevice,
  type RimSubject,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import {
  evidenceList,
  measured,
  newGpu,
  newNvidiaVendor,
  newSwitch,
} from '../support/nvidia-gpu.ts'
import {
  ACTIVE,
  goldenValue,
  newRimVendor,
  resource,
  resources,
  RIMS,
  type RimFields,
} from '../support/nvidia-rim.ts'

const gpus = newNvidiaVendor()
const vendor = newRimVendor(gpus.pki)

const rim = (fields: Partial<RimFields>): Promise<GenuineRim> =>
  verifyRim(encodeUtf8(vendor.rim({ fields })), { now: vendor.now, roots: gpus.pki.roots })

const driver = await rim(RIMS.hopperDriver)
const vbios = await rim(RIMS.hopperVbios)
const blackwellDriver = await rim(RIMS.blackwellDriver)
const blackwellVbios = await rim(RIMS.blackwellVbios)
const bios = await rim(RIMS.nvswitch)

/** What a device measures whose firmware is the one of the reference values. */
const blocks = (count: number): Map<number, Bytes> =>
  new Map(Array.from({ length: count }, (_, at) => [at + 1, measured(at)]))

const hopper: MeasuredDevice = {
  arch: 'HOPPER',
  kind: 'gpu',
  measurements: blocks(64),
  nvdec0: 0xaa,
}
const off: MeasuredDevice = { ...hopper, nvdec0: 0x55 }
const blackwell: MeasuredDevice = { ...hopper, arch: 'BLACKWELL' }
const nvswitch: MeasuredDevice = {
  arch: 'LS10',
  kind: 'switch',
  measurements: blocks(31),
  nvdec0: null,
}

/** A device of which one measurement, by the index of its reference value, is another. */
const differing = (
  device: MeasuredDevice,
  index: number,
  value = measured(0xee),
): MeasuredDevice => ({
  ...device,
  measurements: new Map([...device.measurements, [index + 1, value]]),
})

const codeOf = (compare: () => unknown): string => {
  try {
    compare()
    return 'compared'
  } catch (error) {
    if (error instanceof EvidenceError) return `${error.step} ${error.code}`
    throw error
  }
}

describe('measurements that equal their reference values', () => {
  test('of a GPU', () => {
    expect(compareMeasurements(hopper, [driver, vbios])).toEqual({
      checked: 34,
      matched: 34,
      mismatches: [],
      skipped: [],
      unchecked: 30,
      alternatives: new Map(),
    })
    expect(compareMeasurements(hopper, [vbios, driver])).toMatchObject({ checked: 34, matched: 34 })
  })

  test('of a Blackwell GPU, whatever the state of its decoder', () => {
    const rims = [blackwellDriver, blackwellVbios]
    for (const nvdec0 of [0xaa, 0x55]) {
      expect(compareMeasurements({ ...blackwell, nvdec0 }, rims)).toMatchObject({
        checked: 38,
        matched: 38,
        skipped: [],
      })
    }
  })

  test('of a switch', () => {
    expect(compareMeasurements(nvswitch, [bios])).toMatchObject({
      checked: 31,
      matched: 31,
      unchecked: 0,
    })
  })

  test('as a verified device reports them', async () => {
    const nonce = new Uint8Array(32).fill(7)
    const devices = [newGpu(gpus), newGpu(gpus, 'BLACKWELL'), newSwitch(gpus, [])]
    const { devices: genuine } = await verifyGpuEvidence({
      evidence: parseGpuEvidence(evidenceList(devices, nonce)),
      nonce,
      now: vendor.now,
      roots: gpus.pki.roots,
    })
    const rims = [[driver, vbios], [blackwellDriver, blackwellVbios], [bios]]
    const compared = genuine.map((device, at) => compareMeasurements(device, rims[at] ?? []))
    expect(compared.map(({ mismatches }) => mismatches)).toEqual([[], [], []])
    // Their decoder is off.
    expect(compared.map(({ skipped }) => skipped)).toEqual([[35], [], []])
  })
})

describe('M1: each active reference value is compared', () => {
  const sources = [
    ...ACTIVE.hopperDriver.map((index) => [index, 'driver'] as const),
    ...ACTIVE.hopperVbios.map((index) => [index, 'vbios'] as const),
  ]
  test.for(sources)('%i of the %s', ([index, source]) => {
    const compared = compareMeasurements(differing(hopper, index), [driver, vbios])
    expect(compared).toMatchObject({ checked: 34, matched: 33, mismatches: [{ index, source }] })
  })

  test.for(ACTIVE.nvswitch)('%i of a switch', (index) => {
    const compared = compareMeasurements(differing(nvswitch, index), [bios])
    expect(compared.mismatches).toEqual([{ index, source: 'switch' }])
  })

  test('the others are counted', () => {
    const active: readonly number[] = [...ACTIVE.hopperDriver, ...ACTIVE.hopperVbios]
    const inactive = Array.from({ length: 64 }, (_, at) => at).filter((at) => !active.includes(at))
    expect(inactive).toHaveLength(30)
    for (const index of inactive) {
      const compared = compareMeasurements(differing(hopper, index), [driver, vbios])
      expect(compared).toMatchObject({ matched: 34, unchecked: 30 })
    }
  })

  test('all mismatches are named', () => {
    const worse = differing(differing(hopper, 40), 3)
    expect(compareMeasurements(worse, [driver, vbios]).mismatches).toEqual([
      { index: 40, source: 'driver' },
      { index: 3, source: 'vbios' },
    ])
  })
})

describe('M2: what is not measured while a decoder is off', () => {
  test('is compared while it is on', () => {
    const compared = compareMeasurements(differing(hopper, 35), [driver, vbios])
    expect(compared.mismatches).toEqual([{ index: 35, source: 'driver' }])
    expect(compared.skipped).toEqual([])
  })

  test('is left out while it is off, and said to be', () => {
    expect(compareMeasurements(differing(off, 35), [driver, vbios])).toMatchObject({
      checked: 33,
      matched: 33,
      mismatches: [],
      skipped: [35],
      unchecked: 30,
    })
  })

  test('and nothing else is', async () => {
    for (const index of [34, 36]) {
      const compared = compareMeasurements(differing(off, index), [driver, vbios])
      expect(compared.mismatches).toEqual([{ index, source: 'driver' }])
    }
    const active = resources(ACTIVE.blackwellDriver).with(35, resource(35))
    const other = await rim({ ...RIMS.blackwellDriver, resources: active })
    const device = differing({ ...blackwell, nvdec0: 0x55 }, 35)
    expect(compareMeasurements(device, [other, blackwellVbios]).mismatches).toEqual([
      { index: 35, source: 'driver' },
    ])
  })

  test('an unknown state of it is refused', () => {
    for (const nvdec0 of [0, 0xff, 0x54, null]) {
      for (const [device, rims] of [
        [hopper, [driver, vbios]],
        [blackwell, [blackwellDriver, blackwellVbios]],
      ] as const) {
        expect(codeOf(() => compareMeasurements({ ...device, nvdec0 }, rims))).toBe(
          'rim rim_nvdec_status_unknown',
        )
      }
    }
  })
})

describe('M3, M4: which value is compared with which', () => {
  test('reference value i is for block i + 1', () => {
    const indexes = [...hopper.measurements.keys()]
    const shifted = new Map(indexes.map((index) => [index, measured(index)]))
    const compared = compareMeasurements({ ...hopper, measurements: shifted }, [driver, vbios])
    expect(compared).toMatchObject({ checked: 34, matched: 0 })
  })

  test('any alternative will do, and which one is reported', async () => {
    const zero = '00'.repeat(48)
    const changed = resources(ACTIVE.hopperDriver)
      .with(7, resource(7, { alternatives: '2', hashes: { Hash0: zero, Hash1: goldenValue(7) } }))
      .with(
        22,
        resource(22, {
          alternatives: '3',
          hashes: { Hash0: 'aa'.repeat(48), Hash1: 'bb'.repeat(48), Hash2: zero },
        }),
      )
    const rims = [await rim({ ...RIMS.hopperDriver, resources: changed }), vbios]
    const compared = compareMeasurements(differing(hopper, 22, measured(0)), rims)
    expect(compared).toMatchObject({ matched: 34, mismatches: [] })
    expect([...compared.alternatives]).toEqual([
      [7, 1],
      [22, 2],
    ])
    expect(compareMeasurements(hopper, rims).mismatches).toEqual([{ index: 22, source: 'driver' }])
  })

  test('a value of zeros is a value', () => {
    expect(
      compareMeasurements(differing(hopper, 22, measured(0)), [driver, vbios]).mismatches,
    ).toEqual([{ index: 22, source: 'driver' }])
  })

  test('a measurement that is shorter matches nothing', () => {
    const short = differing(hopper, 7, measured(7).slice(0, 47))
    expect(compareMeasurements(short, [driver, vbios]).mismatches).toEqual([
      { index: 7, source: 'driver' },
    ])
  })
})

describe('M5, R20, R21, R27: a comparison that would say nothing is refused', () => {
  const conflict = rim({ ...RIMS.hopperVbios, resources: resources([...ACTIVE.hopperVbios, 7]) })
  const only35 = rim({ ...RIMS.hopperDriver, resources: resources([35]) })
  const beyond = rim({ ...RIMS.hopperVbios, resources: resources([...ACTIVE.hopperVbios, 64], 65) })
  const switchBeyond = rim({ ...RIMS.nvswitch, resources: resources([...ACTIVE.nvswitch, 31], 32) })

  test('two reference values for one measurement', async () => {
    const rims = [driver, await conflict]
    expect(codeOf(() => compareMeasurements(hopper, rims))).toBe('rim rim_index_conflict')
  })

  test('reference values beyond what is reported', async () => {
    const rims = [driver, await beyond]
    expect(codeOf(() => compareMeasurements(hopper, rims))).toBe('rim rim_index_beyond_report')
    const ofSwitch = [await switchBeyond]
    expect(codeOf(() => compareMeasurements(nvswitch, ofSwitch))).toBe(
      'rim rim_index_beyond_report',
    )
    const fewer = { ...hopper, measurements: blocks(41) }
    expect(codeOf(() => compareMeasurements(fewer, [driver, vbios]))).toBe(
      'rim rim_index_beyond_report',
    )
    const none = { ...hopper, measurements: new Map<number, Bytes>() }
    expect(codeOf(() => compareMeasurements(none, [driver, vbios]))).toBe(
      'rim rim_index_beyond_report',
    )
  })

  test('inactive ones beyond it are, as genuine ones of switches have them', async () => {
    const longer = await rim({ ...RIMS.nvswitch, resources: resources(ACTIVE.nvswitch, 64) })
    expect(compareMeasurements(nvswitch, [longer])).toMatchObject({ checked: 31, matched: 31 })
  })

  test('a document of which nothing applies', async () => {
    const rims = [await only35, vbios]
    expect(codeOf(() => compareMeasurements(off, rims))).toBe('rim rim_nothing_compared')
    expect(compareMeasurements(hopper, rims)).toMatchObject({ checked: 13, matched: 13 })
  })

  test.for<[string, MeasuredDevice, readonly GenuineRim[], string]>([
    ['no reference values', hopper, [], 'rim_set_incomplete'],
    ['those of the driver alone', hopper, [driver], 'rim_set_incomplete'],
    ['those of the VBIOS alone', hopper, [vbios], 'rim_set_incomplete'],
    ['the VBIOS for the driver too', hopper, [vbios, vbios], 'rim_set_mismatch'],
    ['the driver twice', hopper, [driver, driver, vbios], 'rim_set_mismatch'],
    ['a switch beside those of a GPU', hopper, [driver, vbios, bios], 'rim_set_mismatch'],
    ['a switch for a GPU', hopper, [bios], 'rim_set_mismatch'],
    ['a GPU for a switch', nvswitch, [vbios], 'rim_set_mismatch'],
    ['a driver beside a switch', nvswitch, [bios, driver], 'rim_set_mismatch'],
    ['no reference values of a switch', nvswitch, [], 'rim_set_incomplete'],
    ['Hopper for Blackwell', blackwell, [driver, vbios], 'rim_product_mismatch'],
    ['Blackwell for Hopper', hopper, [blackwellDriver, blackwellVbios], 'rim_product_mismatch'],
    ['one of each', hopper, [driver, blackwellVbios], 'rim_product_mismatch'],
  ])('%s', ([, device, rims, code]) => {
    expect(codeOf(() => compareMeasurements(device, rims))).toBe(`rim ${code}`)
  })

  test('what was not verified is a mistake of the caller', () => {
    const lookalike: GenuineRim = JSON.parse('{"slot":"driver","product":"GH100","golden":[]}')
    expect(() => compareMeasurements(hopper, [lookalike, vbios])).toThrow(TypeError)
  })
})

describe('R19, M6: reference values are for this chip and these versions', () => {
  const subject: RimSubject = {
    kind: 'gpu',
    chip: 'GH100',
    driver: '580.95.05',
    vbios: '96.00.9F.00.01',
  }
  const ofSwitch: RimSubject = {
    kind: 'switch',
    chip: 'LS10',
    driver: null,
    vbios: '96.10.55.00.01',
  }

  test('and are taken', () => {
    matchRims(subject, [driver, vbios])
    matchRims({ ...subject, vbios: '96.00.9f.00.01' }, [vbios, driver])
    matchRims(ofSwitch, [bios])
    expect(codeOf(() => matchRims(subject, [driver, vbios]))).toBe('compared')
  })

  test.for<[string, RimSubject, readonly GenuineRim[], string]>([
    [
      'another driver',
      { ...subject, driver: '580.95.06' },
      [driver, vbios],
      'rim_version_mismatch',
    ],
    ['no driver', { ...subject, driver: null }, [driver, vbios], 'rim_version_mismatch'],
    [
      'another VBIOS',
      { ...subject, vbios: '96.00.9F.00.02' },
      [driver, vbios],
      'rim_version_mismatch',
    ],
    ['another BIOS', { ...ofSwitch, vbios: '96.10.55.00.02' }, [bios], 'rim_version_mismatch'],
    ['another chip', { ...subject, chip: 'GH200' }, [driver, vbios], 'rim_product_mismatch'],
    ['another switch', { ...ofSwitch, chip: 'LS20' }, [bios], 'rim_product_mismatch'],
    ['another generation', subject, [blackwellDriver, blackwellVbios], 'rim_product_mismatch'],
    ['one missing', subject, [driver], 'rim_set_incomplete'],
    ['one too many', subject, [driver, vbios, bios], 'rim_set_mismatch'],
  ])('%s', ([, device, rims, code]) => {
    expect(codeOf(() => matchRims(device, rims))).toBe(`rim ${code}`)
  })
})
