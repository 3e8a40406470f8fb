import { encodeUtf8, fromHex, toHex } from '@vouchgate/attestation'
import { expect, test } from 'vitest'
import { ethereumAddress, keccak256 } from '../../attestation/keccak.ts'

const of = (text: string): string => toHex(keccak256(encodeUtf8(text)))

test.each([
  ['', 'c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'],
  ['abc', '4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45'],
  // One byte short of a block, one block, one byte more: each pads another way.
  ['a'.repeat(135), '34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446'],
  ['a'.repeat(136), 'a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e'],
  ['a'.repeat(137), 'd869f639c7046b4929fc92a4d988a8b22c55fbadb802c0c66ebcd484f1915f39'],
])('Keccak-256 of %j', (text, digest) => {
  expect(of(text)).toBe(digest)
})

test('the address of a key is that of the account it signs for', () => {
  // The generator of secp256k1: the key of the private key 1.
  const point = fromHex(
    '79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798' +
      '483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8',
  )
  expect(ethereumAddress(point)).toBe('7e5f4552091a69125d5dfcb7b8c2659029395bdf')
})
