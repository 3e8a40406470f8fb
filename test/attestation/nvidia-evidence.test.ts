import { isVerificationError, parseGpuEvidence, parseGpuNonce, toHex } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { evidenceItem, newGpu, newNvidiaVendor } from '../support/nvidia-gpu.ts'

const vendor = newNvidiaVendor()
const gpu = newGpu(vendor)
const nonce = new Uint8Array(32).fill(7)
const report = gpu.answer(nonce)
const item = evidenceItem(report, gpu.pem, 'HOPPER')
const hex = toHex(nonce)
const payload = { arch: 'HOPPER', nonce: hex, evidence_list: [item] }

const codeOf = (json: string): string => {
  try {
    parseGpuEvidence(json)
    return 'read'
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return error.code
  }
}

describe('the shapes that services hand out', () => {
  const { arch: _, ...bare } = item
  test.each([
    ['nvidia_payload', payload],
    ['nvidia_payload as a string', JSON.stringify(payload)],
    [
      'nvidia_payload whose items repeat nonce and architecture',
      {
        ...payload,
        evidence_list: [{ ...item, nonce: hex.toUpperCase() }],
      },
    ],
    ['a bare list', [{ ...item, nonce: hex }]],
    ['NVAT', { evidences: [item], result_code: 0, result_message: 'ok' }],
    ['Tinfoil', { gpu: { evidences: [item] } }],
    ['Chutes: items without architecture', [bare]],
  ])('%s', (_name, value) => {
    const evidence = parseGpuEvidence(JSON.stringify(value))
    expect(evidence.items.map((found) => found.report)).toEqual([report])
    expect(evidence.items[0]?.certificates).toBe(gpu.pem)
  })

  test('GPUs come before switches', () => {
    const other = evidenceItem(gpu.answer(nonce), gpu.pem, 'HOPPER')
    const { items } = parseGpuEvidence(
      JSON.stringify({ nvswitch: { evidences: [other] }, gpu: { evidences: [item] } }),
    )
    expect(items.map((found) => found.report)[0]).toEqual(report)
    expect(items).toHaveLength(2)
  })

  test('zero bytes behind the certificates, and nothing else there', () => {
    const padded = (text: string): string =>
      parseGpuEvidence(listed({ certificate: Buffer.from(text).toString('base64') })).items[0]
        ?.certificates ?? ''
    expect(padded(`${gpu.pem}\0\0\0`)).toBe(gpu.pem)
    expect(padded(`${gpu.pem}\0x`)).toBe(`${gpu.pem}\0x`)
  })

  test('a stated nonce is read, and none is null', () => {
    expect(parseGpuEvidence(JSON.stringify(payload)).statedNonce).toEqual(nonce)
    expect(parseGpuEvidence(JSON.stringify([item])).statedNonce).toBeNull()
  })
})

const listed = (change: object): string =>
  JSON.stringify({ ...payload, evidence_list: [{ ...item, ...change }] })
const spoiled = (char: string, at: number): string =>
  item.evidence.slice(0, at) + char + item.evidence.slice(at + 1)

describe('what is refused', () => {
  test.each([
    ['no JSON', '{', 'json_malformed'],
    ['duplicate members', `{"evidence_list":[],"evidence_list":[]}`, 'json_malformed'],
    ['a string that holds no JSON', '"no"', 'json_malformed'],
    ['another document', '{"hello":1}', 'gpu_evidence_malformed'],
    ['null', 'null', 'gpu_evidence_malformed'],
    ['items that are none', JSON.stringify([1]), 'gpu_evidence_malformed'],
    [
      'an item without certificate',
      JSON.stringify([{ evidence: item.evidence }]),
      'gpu_evidence_malformed',
    ],
    ['__proto__ as a list', '{"__proto__":{"evidence_list":[]}}', 'gpu_evidence_malformed'],
    ['an empty list', JSON.stringify({ ...payload, evidence_list: [] }), 'gpu_evidence_count'],
    ['65 items', JSON.stringify(Array.from({ length: 65 }, () => ({}))), 'gpu_evidence_count'],
    ['10,000 items', JSON.stringify(Array.from({ length: 10_000 }, () => 1)), 'gpu_evidence_count'],
    ['a huge report', listed({ evidence: 'A'.repeat(12_000) }), 'gpu_evidence_size'],
    ['a tiny report', listed({ evidence: 'AAAA' }), 'gpu_evidence_size'],
    ['huge certificates', listed({ certificate: 'A'.repeat(44_000) }), 'gpu_evidence_size'],
    ['URL-safe base64', listed({ evidence: spoiled('_', 8) }), 'encoding_malformed'],
    ['white space in base64', listed({ evidence: spoiled('\n', 8) }), 'encoding_malformed'],
    ['base64 without padding', listed({ certificate: 'QQ' }), 'encoding_malformed'],
    ['certificates that are no UTF-8', listed({ certificate: '/w==' }), 'encoding_malformed'],
    ['a nonce of 48 bytes', listed({ nonce: '0'.repeat(96) }), 'gpu_nonce_malformed'],
    ['a nonce that is no hex', listed({ nonce: 'g'.repeat(64) }), 'gpu_nonce_malformed'],
    ['another nonce in an item', listed({ nonce: '0'.repeat(64) }), 'gpu_nonce_conflict'],
    ['another architecture in an item', listed({ arch: 'BLACKWELL' }), 'gpu_arch_conflict'],
    [
      'an unknown architecture',
      JSON.stringify([{ ...item, arch: 'AMPERE' }]),
      'gpu_arch_unsupported',
    ],
    [
      'an architecture that is a member of every object',
      JSON.stringify([{ ...item, arch: 'constructor' }]),
      'gpu_arch_unsupported',
    ],
  ])('%s', (_name, json, code) => {
    expect(codeOf(json)).toBe(code)
  })

  test('a nonce is 64 hex digits of either case', () => {
    expect(parseGpuNonce(hex.toUpperCase())).toEqual(nonce)
    expect(() => parseGpuNonce(hex.slice(2))).toThrow(
      expect.objectContaining({ code: 'gpu_nonce_malformed' }),
    )
  })
})
