import {
  isVerificationError,
  parseGpuEvidence,
  parseSpdmReport,
  testNvidiaRoots,
  toHex,
  verifyGpuDevice,
  verifyGpuEvidence,
  type NvidiaRoots,
} from '@vouchgate/attestation'
import { assert, nat, property, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TEST_TIME } from '../support/clock.ts'
import { concat, octetString, oid, sequence, hex as fromHex } from '../support/der.ts'
import {
  ascii,
  evidenceList,
  fwidExtension,
  gpuOpaque,
  measured,
  measurementBlock,
  newGpu,
  newNvidiaVendor,
  newSwitch,
  pemOf,
  reportFields,
  signReport,
  switchOpaque,
  vbiosField,
  type ReportFields,
} from '../support/nvidia-gpu.ts'
import {
  caExtensions,
  ECDSA_WITH_SHA384,
  issueAuthority,
  LONG,
  newP384Key,
  nvidiaName,
  SIGNING_EXTENSIONS,
} from '../support/nvidia-pki.ts'

const vendor = newNvidiaVendor()
const { roots } = vendor.pki
const gpu = newGpu(vendor)
const blackwell = newGpu(vendor, 'BLACKWELL')
const nvswitch = newSwitch(vendor, [gpu.pdi])
const nonce = new Uint8Array(32).fill(7)
const good = gpu.answer(nonce)

interface Given {
  readonly report?: Uint8Array
  readonly pem?: string
  readonly statedArch?: 'HOPPER' | 'BLACKWELL' | 'LS10' | null
  readonly nonce?: Uint8Array
  readonly now?: number
  readonly roots?: NvidiaRoots
}

const judge = async (given: Given) =>
  verifyGpuDevice(
    {
      report: Uint8Array.from(given.report ?? good),
      certificates: given.pem ?? gpu.pem,
      statedArch: given.statedArch === undefined ? 'HOPPER' : given.statedArch,
    },
    Uint8Array.from(given.nonce ?? nonce),
    given.now ?? TEST_TIME,
    given.roots ?? roots,
  )

const outcome = async (given: Given): Promise<string> => {
  try {
    await judge(given)
    return 'genuine'
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return `${error.step} ${error.code}`
  }
}

describe('genuine devices', () => {
  test('a Hopper GPU', async () => {
    const device = await judge({})
    expect(device).toMatchObject({
      root: 'test-pki',
      kind: 'gpu',
      arch: 'HOPPER',
      chip: 'GH100',
      driver: '580.95.05',
      vbios: '96.00.9F.00.01',
      nvdec0: 0x55,
      firmware: 'matched',
    })
    expect(device.deviceId).toBe(`41${toHex(gpu.pdi)}`.toUpperCase())
    expect(device.ueid).toBe(BigInt(`0x${toHex(gpu.chain.leaf.serial)}`).toString())
    expect(device.measurements.get(1)).toEqual(measured(0))
    expect(device.info).toMatchObject({
      project: '1010',
      projectSku: '0200',
      chipSku: '882',
      mode: 'spt',
    })
  })

  test('a Blackwell GPU', async () => {
    const device = await judge({
      report: blackwell.answer(nonce),
      pem: blackwell.pem,
      statedArch: 'BLACKWELL',
    })
    expect(device).toMatchObject({ arch: 'BLACKWELL', chip: 'GB100', firmware: 'matched' })
    expect(device.info.chipInfo).toBe('GB100')
  })

  test('a switch', async () => {
    const device = await judge({
      report: nvswitch.answer(nonce),
      pem: nvswitch.pem,
      statedArch: 'LS10',
    })
    expect(device).toMatchObject({
      kind: 'switch',
      chip: 'LS10',
      driver: null,
      vbios: '96.10.55.00.01',
      firmware: 'not-applicable',
    })
    expect(device.info).toMatchObject({
      pdi: toHex(nvswitch.pdi),
      gpuPdis: [toHex(gpu.pdi)],
      locked: true,
    })
  })

  test('an old driver that reports no firmware id', async () => {
    const opaque = new Map(gpu.opaque)
    opaque.delete(20)
    const report = signReport(reportFields(nonce, opaque, gpu.values), gpu.chain.leaf.key)
    expect((await judge({ report })).firmware).toBe('not-reported')
  })

  test('nobody needs to state an architecture', async () => {
    expect(await outcome({ statedArch: null })).toBe('genuine')
  })

  test('roots of a test PKI are named by their certificates', async () => {
    const { deviceRoot, rimRoot } = vendor.pki
    expect(await testNvidiaRoots(deviceRoot.pem, rimRoot.pem)).toEqual(roots)
    await expect(testNvidiaRoots(deviceRoot.pem + rimRoot.pem, rimRoot.pem)).rejects.toMatchObject({
      code: 'certificate_malformed',
    })
  })
})

const readable = (report: Uint8Array): string => {
  try {
    parseSpdmReport(report)
    return 'read'
  } catch (error) {
    return isVerificationError(error) ? error.code : 'crashed'
  }
}

/** The good report with some parts changed, signed by the device all the same. */
const signed = (change: (fields: ReportFields) => Partial<ReportFields>): Uint8Array => {
  const fields = reportFields(nonce, gpu.opaque, gpu.values)
  return signReport({ ...fields, ...change(fields) }, gpu.chain.leaf.key)
}
const withBlock = (at: number, block: Uint8Array) =>
  signed(({ blocks }) => ({ blocks: blocks.with(at, block) }))
const block = (at: number, value: number): Uint8Array =>
  measurementBlock(3, measured(2)).with(at, value)
const withOpaque = (opaque: Uint8Array) => signed(() => ({ opaque, opaqueLength: opaque.length }))
const withField = (id: number, data: Uint8Array | null) => {
  const fields = new Map(gpu.opaque)
  if (data === null) fields.delete(id)
  else fields.set(id, data)
  return signReport(reportFields(nonce, fields, gpu.values), gpu.chain.leaf.key)
}
const flipped = (at: number): Uint8Array => good.with(at, (good[at] ?? 0) ^ 1)

describe('the report', () => {
  test.each([
    ['too short', good.subarray(0, 1199), 'gpu_evidence gpu_evidence_size'],
    ['too long', new Uint8Array(8193), 'gpu_evidence gpu_evidence_size'],
    ['cut', good.subarray(0, good.length - 1), 'gpu_report spdm_malformed'],
    [
      'a zero byte behind it',
      signed(() => ({ trailing: Uint8Array.of(0) })),
      'gpu_report spdm_trailing_bytes',
    ],
    [
      'SPDM 1.2',
      signed(() => ({ requestHeader: fromHex('12e001ff') })),
      'gpu_report spdm_message_unexpected',
    ],
    [
      'another request',
      signed(() => ({ requestHeader: fromHex('118301ff') })),
      'gpu_report spdm_message_unexpected',
    ],
    [
      'no signature asked',
      signed(() => ({ requestHeader: fromHex('11e000ff') })),
      'gpu_report spdm_message_unexpected',
    ],
    [
      'one measurement asked',
      signed(() => ({ requestHeader: fromHex('11e00101') })),
      'gpu_report spdm_message_unexpected',
    ],
    [
      'an error response',
      signed(() => ({ responseHeader: fromHex('117f0000') })),
      'gpu_report spdm_message_unexpected',
    ],
    ['fewer blocks than counted', signed(() => ({ blockCount: 65 })), 'gpu_report spdm_malformed'],
    ['more blocks than counted', signed(() => ({ blockCount: 63 })), 'gpu_report spdm_malformed'],
    [
      'no blocks',
      signed(() => {
        const opaque = concat(Uint8Array.of(250, 0, 0x4c, 4), new Uint8Array(1100))
        return { blocks: [], blockCount: 0, recordLength: 0, opaque, opaqueLength: opaque.length }
      }),
      'gpu_report spdm_malformed',
    ],
    [
      'a record that ends inside a block',
      signed(({ recordLength }) => ({ recordLength: recordLength - 1 })),
      'gpu_report spdm_malformed',
    ],
    [
      'a record past the end',
      signed(() => ({ recordLength: 0xffffff })),
      'gpu_report spdm_malformed',
    ],
    ['a duplicate index', withBlock(2, block(0, 2)), 'gpu_report spdm_measurement_order'],
    ['a gap in the indexes', withBlock(2, block(0, 4)), 'gpu_report spdm_measurement_order'],
    ['another specification', withBlock(2, block(1, 2)), 'gpu_report spdm_measurement_malformed'],
    ['another block size', withBlock(2, block(2, 52)), 'gpu_report spdm_measurement_malformed'],
    ['a raw value', withBlock(2, block(4, 0x81)), 'gpu_report spdm_measurement_malformed'],
    ['another value size', withBlock(2, block(5, 32)), 'gpu_report spdm_measurement_malformed'],
    [
      'opaque data past the end',
      signed(() => ({ opaqueLength: 0xffff })),
      'gpu_report spdm_malformed',
    ],
    [
      'an opaque field past its end',
      withOpaque(Uint8Array.of(3, 0, 9, 0, 1)),
      'gpu_report spdm_opaque_malformed',
    ],
    [
      'an opaque field twice',
      withOpaque(Uint8Array.of(3, 0, 0, 0, 3, 0, 0, 0)),
      'gpu_report spdm_opaque_duplicate',
    ],
    [
      'an opaque field marked invalid',
      withOpaque(Uint8Array.of(255, 0, 0, 0)),
      'gpu_report spdm_opaque_invalid',
    ],
    [
      'opaque data of version 2',
      withField(34, Uint8Array.of(2, 0)),
      'gpu_report spdm_opaque_version_unsupported',
    ],
    [
      'an opaque version of one byte',
      withField(34, Uint8Array.of(1)),
      'gpu_report spdm_opaque_version_unsupported',
    ],
  ])('%s', async (_name, report, expected) => {
    expect(await outcome({ report })).toBe(expected)
  })

  test('unknown opaque fields and version 1 are read', async () => {
    expect(await outcome({ report: withField(250, Uint8Array.of(1)) })).toBe('genuine')
    expect(await outcome({ report: withField(34, Uint8Array.of(1, 0)) })).toBe('genuine')
  })

  test('every shorter prefix is refused', () => {
    for (let length = 0; length < good.length; length++) {
      expect(() => parseSpdmReport(good.subarray(0, length)), `${length}`).toThrow(
        expect.objectContaining({ kind: 'malformed' }),
      )
    }
  })

  test('any bytes are read or refused with a code', () => {
    assert(
      property(uint8Array({ maxLength: 3000 }), nat(good.length - 1), (bytes, at) => {
        const spliced = concat(good.subarray(0, at), bytes, good.subarray(at + bytes.length))
        expect(readable(spliced)).toMatch(/^(?:read|(?:spdm|gpu)_[a-z_]+)$/)
      }),
    )
  })
})

describe('nonce and signature', () => {
  test('another nonce, signed', async () => {
    const other = new Uint8Array(32).fill(8)
    expect(await outcome({ report: gpu.answer(other) })).toBe('freshness nonce_mismatch')
  })

  test('the nonce of the response answers nothing', async () => {
    const report = gpu.answer(new Uint8Array(32).fill(8))
    const { responseNonce } = parseSpdmReport(report)
    expect(await outcome({ report, nonce: responseNonce })).toBe('freshness nonce_mismatch')
  })

  test('a nonce put in afterwards', async () => {
    const report = gpu.answer(new Uint8Array(32).fill(8))
    report.set(nonce, 4)
    expect(await outcome({ report })).toBe('gpu_signature gpu_signature_invalid')
  })

  test('one changed bit anywhere', async () => {
    const at = [36, 39, 40, 52, 60, 3600, 3700, good.length - 100, good.length - 1]
    for (const offset of at) {
      expect(await outcome({ report: flipped(offset) }), `${offset}`).not.toBe('genuine')
    }
  })

  test.each([
    ['zero', new Uint8Array(96)],
    ['all ones', new Uint8Array(96).fill(255)],
    ['r and s swapped', concat(good.slice(-48), good.slice(-96, -48))],
  ])('a signature of %s', async (_name, signature) => {
    const report = concat(good.subarray(0, -96), signature)
    expect(await outcome({ report })).toBe('gpu_signature gpu_signature_invalid')
  })

  test('signed by the boot ROM', async () => {
    const report = signReport(reportFields(nonce, gpu.opaque, gpu.values), gpu.chain.bootRom.key)
    expect(await outcome({ report })).toBe('gpu_signature gpu_signature_invalid')
  })

  test('the evidence of one GPU under the chain of another', async () => {
    const { pem } = newGpu(vendor)
    expect(await outcome({ pem })).toBe('gpu_signature gpu_signature_invalid')
  })
})

describe('the chain', () => {
  const [leaf, bootRom, provisioner, family, root] = gpu.chain.certificates.map(({ pem }) => pem)
  const chained = (...pems: (string | undefined)[]): string => pems.join('')
  const reissued = (changes: Parameters<typeof vendor.chain>[3]) => {
    const chain = vendor.chain('HOPPER', gpu.pdi, gpu.fwid, changes)
    const report = signReport(reportFields(nonce, gpu.opaque, gpu.values), chain.leaf.key)
    return { report, pem: pemOf(chain.certificates) }
  }
  const p256 = newP384Key('P-256')

  test.each([
    ['nothing', '', 'certificate_chain_length'],
    ['root only', chained(root), 'certificate_chain_length'],
    ['no provisioning authority', chained(leaf, bootRom, family, root), 'certificate_chain_length'],
    ['no leaf', chained(bootRom, provisioner, family, root), 'certificate_chain_length'],
    ['no root', chained(leaf, bootRom, provisioner, family), 'certificate_chain_length'],
    [
      'a certificate twice',
      chained(leaf, bootRom, provisioner, family, root, root),
      'certificate_chain_length',
    ],
    [
      'another order',
      chained(leaf, provisioner, bootRom, family, root),
      'certificate_name_mismatch',
    ],
    ['root first', chained(root, family, provisioner, bootRom, leaf), 'certificate_root_untrusted'],
    [
      'garbage between certificates',
      chained(leaf, 'garbage', bootRom, provisioner, family, root),
      'certificate_malformed',
    ],
    [
      'another root of the same name',
      chained(leaf, bootRom, provisioner, family, newNvidiaVendor().pki.deviceRoot.pem),
      'certificate_root_untrusted',
    ],
  ])('%s', async (_name, pem, code) => {
    expect(await outcome({ pem })).toBe(`gpu_chain ${code}`)
  })

  test.each([
    [
      'a leaf signed by somebody else',
      { leaf: { signer: newP384Key() } },
      'certificate_signature_invalid',
    ],
    [
      'a boot ROM signed by somebody else',
      { bootRom: { signer: newP384Key() } },
      'certificate_signature_invalid',
    ],
    [
      'an issuer name that is not its issuer',
      { leaf: { issuer: nvidiaName('GH100 A01 GSP BROM') } },
      'certificate_name_mismatch',
    ],
    [
      'a boot ROM that is no CA',
      { bootRom: { extensions: SIGNING_EXTENSIONS } },
      'certificate_role_invalid',
    ],
    [
      'a boot ROM that may certify and is no CA',
      {
        bootRom: {
          extensions: [{ id: '2.5.29.19', value: sequence() }, ...caExtensions().slice(1)],
        },
      },
      'certificate_role_invalid',
    ],
    [
      'a family CA with too short a path',
      { family: { extensions: caExtensions(1) } },
      'certificate_role_invalid',
    ],
    [
      'a CA without keyCertSign',
      { provisioner: { extensions: caExtensions().slice(0, 1) } },
      'certificate_role_invalid',
    ],
    [
      'a leaf that is a CA',
      { leaf: { extensions: [...caExtensions().slice(0, 1), ...SIGNING_EXTENSIONS] } },
      'certificate_role_invalid',
    ],
    ['a leaf that may not sign', { leaf: { extensions: [] } }, 'certificate_role_invalid'],
    [
      'an unknown critical extension',
      {
        provisioner: {
          extensions: [...caExtensions(), { id: '1.2.3.4', critical: true, value: sequence() }],
        },
      },
      'certificate_critical_extension',
    ],
    ['an expired boot ROM', { bootRom: { notAfter: TEST_TIME - 1 } }, 'certificate_not_valid_now'],
    [
      'a boot ROM of tomorrow',
      { bootRom: { notBefore: TEST_TIME + 1 } },
      'certificate_not_valid_now',
    ],
    [
      'another algorithm outside',
      { leaf: { outerAlgorithm: sequence(oid('1.2.840.10045.4.3.2')) } },
      'certificate_signature_invalid',
    ],
    [
      'another algorithm inside',
      { leaf: { innerAlgorithm: sequence(oid('1.2.840.10045.4.3.2')) } },
      'certificate_signature_invalid',
    ],
    [
      'parameters in the algorithm',
      {
        leaf: {
          innerAlgorithm: concat(ECDSA_WITH_SHA384),
          outerAlgorithm: sequence(oid('1.2.840.10045.4.3.3'), fromHex('0500')),
        },
      },
      'certificate_signature_invalid',
    ],
  ] as const)('%s', async (_name, changes, code) => {
    expect(await outcome(reissued(changes))).toBe(`gpu_chain ${code}`)
  })

  test('a leaf with a P-256 key', async () => {
    const { pem } = reissued({ leaf: { key: p256 } })
    expect(await outcome({ pem })).toBe('gpu_chain certificate_role_invalid')
  })

  test('before and after its time', async () => {
    expect(await outcome({ now: LONG.notBefore - 1 })).toBe('gpu_chain certificate_not_valid_now')
    expect(await outcome({ now: LONG.notAfter + 1 })).toBe('gpu_chain certificate_not_valid_now')
  })

  test('a device under the root of reference values', async () => {
    const swapped = { ...roots, device: roots.rim, rim: roots.device }
    expect(await outcome({ roots: swapped })).toBe('gpu_chain certificate_root_untrusted')
  })
})

describe('the chip', () => {
  const named = (leafName: string, bootRomName: string) => {
    const chain = vendor.chain('HOPPER', gpu.pdi, gpu.fwid, {
      bootRom: { subject: nvidiaName(bootRomName) },
      leaf: { subject: nvidiaName(leafName) },
    })
    const report = signReport(reportFields(nonce, gpu.opaque, gpu.values), chain.leaf.key)
    return { report, pem: pemOf(chain.certificates) }
  }

  test.each([
    ['a name of no chip', 'somebody', 'GH100 A01 GSP BROM'],
    ['names of two chips', 'GB100 A01 GSP FMC LF', 'GH100 A01 GSP BROM'],
    ['a boot ROM of another chip', 'GH100 A01 GSP FMC LF', 'GB100 A01 GSP BROM'],
  ])('%s', async (_name, leaf, bootRom) => {
    expect(await outcome(named(leaf, bootRom))).toBe('gpu_identity gpu_chip_unknown')
  })

  test('a chip that this library does not know', async () => {
    const family = issueAuthority('NVIDIA GX100 Identity', vendor.pki.deviceRoot)
    const ica = issueAuthority('NVIDIA GX100 Provisioner ICA 1', family)
    const bootRom = issueAuthority('GX100 A01 GSP BROM', ica)
    const leaf = issueAuthority('GX100 A01 GSP FMC LF', bootRom, { extensions: SIGNING_EXTENSIONS })
    const report = signReport(reportFields(nonce, gpu.opaque, gpu.values), leaf.key)
    const pem = pemOf([leaf, bootRom, ica, family, vendor.pki.deviceRoot])
    expect(await outcome({ report, pem })).toBe('gpu_identity gpu_chip_unknown')
  })

  test('another architecture than stated', async () => {
    expect(await outcome({ statedArch: 'BLACKWELL' })).toBe('gpu_identity gpu_arch_mismatch')
  })

  test('a GPU report under the chain of a switch', async () => {
    const { chain, pem } = nvswitch
    const report = signReport(reportFields(nonce, gpu.opaque, gpu.values), chain.leaf.key)
    expect(await outcome({ report, pem, statedArch: 'LS10' })).toBe('gpu_report gpu_field_missing')
  })
})

describe('the firmware id', () => {
  const withLeaf = (
    extensions: readonly ReturnType<typeof fwidExtension>[],
    arch: 'HOPPER' | 'BLACKWELL' = 'HOPPER',
  ) => {
    const device = arch === 'HOPPER' ? gpu : blackwell
    const chain = vendor.chain(arch, device.pdi, device.fwid, {
      leaf: { extensions: [...SIGNING_EXTENSIONS, ...extensions] },
    })
    const report = signReport(reportFields(nonce, device.opaque, device.values), chain.leaf.key)
    return { report, pem: pemOf(chain.certificates), statedArch: arch }
  }
  const other = newP384Key()
  const deviceId = (...parts: Uint8Array[]) => ({ id: '2.23.133.5.4.1', value: sequence(...parts) })
  const sha384 = oid('2.16.840.1.101.3.4.2.2')
  const fwid = sequence(sha384, octetString(gpu.fwid))
  const one = fromHex('020101')

  test('another than the certified one', async () => {
    expect(await outcome({ report: withField(20, new Uint8Array(48)) })).toBe(
      'gpu_identity gpu_fwid_mismatch',
    )
  })

  test('vouched for by another key than the boot ROM', async () => {
    expect(await outcome(withLeaf([fwidExtension('HOPPER', gpu.fwid, other)]))).toBe(
      'gpu_identity gpu_fwid_issuer_mismatch',
    )
  })

  test.each([
    ['none', []],
    ['the one of Blackwell', [fwidExtension('BLACKWELL', gpu.fwid, other)]],
    ['no sequence', [{ id: '2.23.133.5.4.1', value: one }]],
    ['another version', [deviceId(fromHex('020102'), gpu.chain.bootRom.key.spki, fwid)]],
    ['more than it has', [deviceId(one, gpu.chain.bootRom.key.spki, fwid, one)]],
    [
      'bytes behind it',
      [
        {
          id: '2.23.133.5.4.1',
          value: concat(sequence(one, gpu.chain.bootRom.key.spki, fwid), one),
        },
      ],
    ],
  ])('an extension: %s', async (_name, extensions) => {
    expect(await outcome(withLeaf(extensions))).toBe('gpu_identity gpu_fwid_malformed')
  })

  /** The boot ROM's key is new with each chain, so these are checked where no key is compared. */
  const tcbInfo = (...fwids: Uint8Array[]) => ({
    id: '2.23.133.5.4.1.1',
    value: sequence(...fwids.map((list) => sequence(list).with(0, 0xa6))),
  })
  test.each([
    ['no list', [tcbInfo()]],
    ['two lists', [tcbInfo(fwid, fwid)]],
    [
      'another algorithm',
      [tcbInfo(sequence(oid('2.16.840.1.101.3.4.2.1'), octetString(blackwell.fwid)))],
    ],
    ['another length', [tcbInfo(sequence(sha384, octetString(new Uint8Array(32))))]],
    ['a third member', [tcbInfo(sequence(sha384, octetString(blackwell.fwid), one))]],
  ])('a TcbInfo: %s', async (_name, extensions) => {
    expect(await outcome(withLeaf(extensions, 'BLACKWELL'))).toBe('gpu_identity gpu_fwid_malformed')
  })
})

describe('the fields of a report', () => {
  const mixed = gpuOpaque({
    driver: '580.95.05',
    vbios: '96.00.9F.00.01',
    fwid: gpu.fwid,
    nvdec0: 0x55,
    switchPdis: [nvswitch.pdi],
    chipInfo: null,
    feature: 0,
  })
  test.each([
    ['no driver version', withField(3, null), 'gpu_field_missing'],
    ['a driver version that is none', withField(3, ascii('580;rm\0')), 'gpu_field_malformed'],
    ['an empty driver version', withField(3, ascii('\0')), 'gpu_field_malformed'],
    ['bytes behind the end of a text', withField(3, ascii('580\0x')), 'gpu_field_malformed'],
    ['a text beyond ASCII', withField(17, Uint8Array.of(0xe9, 0)), 'gpu_field_malformed'],
    [
      'a text that is too long',
      withField(17, new Uint8Array(80).fill(0x41)),
      'gpu_field_malformed',
    ],
    ['no VBIOS version', withField(6, null), 'gpu_field_missing'],
    ['a VBIOS version of a switch', withField(6, ascii('96.10.55.00.01')), 'gpu_field_malformed'],
    [
      'an NVDEC status of two bytes',
      withField(11, Uint8Array.of(0x55, 0x55)),
      'gpu_field_malformed',
    ],
    ['a firmware id of 47 bytes', withField(20, gpu.fwid.subarray(1)), 'gpu_field_malformed'],
    ['an unknown mode', withField(36, Uint8Array.of(3, 0)), 'gpu_field_malformed'],
    [
      'two modes at once',
      signReport(reportFields(nonce, mixed, gpu.values), gpu.chain.leaf.key),
      'gpu_field_malformed',
    ],
    ['a switch list of another length', withField(22, new Uint8Array(8)), 'gpu_field_malformed'],
  ])('%s', async (_name, report, code) => {
    expect(await outcome({ report })).toBe(`gpu_report ${code}`)
  })

  test('a switch without its PDI or with a GPU’s', async () => {
    const answer = (fields: Map<number, Uint8Array>) =>
      signReport(reportFields(nonce, fields, nvswitch.values), nvswitch.chain.leaf.key)
    const without = switchOpaque(nvswitch.pdi, [gpu.pdi])
    without.delete(22)
    const given = { pem: nvswitch.pem, statedArch: 'LS10' } as const
    expect(await outcome({ ...given, report: answer(without) })).toBe(
      'gpu_report gpu_field_missing',
    )
    const binary = switchOpaque(nvswitch.pdi, [gpu.pdi]).set(6, vbiosField('96.00.9F.00.01'))
    expect(await outcome({ ...given, report: answer(binary) })).toBe(
      'gpu_report gpu_field_malformed',
    )
    const short = switchOpaque(nvswitch.pdi, [gpu.pdi]).set(26, new Uint8Array(8))
    expect(await outcome({ ...given, report: answer(short) })).toBe(
      'gpu_report gpu_field_malformed',
    )
  })
})

describe('several devices', () => {
  const evidence = (json: string) =>
    verifyGpuEvidence({ evidence: parseGpuEvidence(json), nonce, now: TEST_TIME, roots })

  test('are given in their order', async () => {
    const others = [newGpu(vendor), gpu, nvswitch]
    const { devices, nonce: asked } = await evidence(evidenceList(others, nonce))
    expect(devices.map(({ kind }) => kind)).toEqual(['gpu', 'gpu', 'switch'])
    expect(devices[1]?.deviceId).toBe(`41${toHex(gpu.pdi)}`.toUpperCase())
    expect(asked).toBe(toHex(nonce))
  })

  test('must be distinct, also under another leaf', async () => {
    const twin = newGpu(vendor, 'HOPPER', { pdi: gpu.pdi })
    await expect(evidence(evidenceList([gpu, newGpu(vendor), twin], nonce))).rejects.toMatchObject({
      code: 'gpu_device_duplicate',
      step: 'gpu_platform',
    })
  })

  test('the first one that does not hold is told, whichever is slower', async () => {
    const stranger = newGpu(newNvidiaVendor())
    const json = evidenceList([gpu, stranger, gpu], nonce)
    await expect(evidence(json)).rejects.toMatchObject({ code: 'certificate_root_untrusted' })
  })

  test('none is not enough', async () => {
    const given = { evidence: { items: [], statedNonce: null }, nonce, now: TEST_TIME, roots }
    await expect(verifyGpuEvidence(given)).rejects.toMatchObject({ code: 'gpu_evidence_count' })
  })
})
