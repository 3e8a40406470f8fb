import { createPublicKey, diffieHellman, generateKeyPairSync, verify } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { HpkeKey, ReceiptKey, ServerKey } from '../../enclave/keys.ts'

const ED25519_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const X25519_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

const publicKey = (prefix: Buffer, hex: string) =>
  createPublicKey({
    key: Buffer.concat([prefix, Buffer.from(hex, 'hex')]),
    format: 'der',
    type: 'spki',
  })

describe('keys', () => {
  test('the published receipt key verifies what the private one signs', () => {
    const key = new ReceiptKey()
    const message = Buffer.from('receipt')
    const published = publicKey(ED25519_PREFIX, key.entry.public_key)
    expect(key.entry.algo).toBe('ed25519')
    expect(verify(null, message, published, key.sign(message))).toBe(true)
  })

  test('the published HPKE key agrees with the private one on the same secret', () => {
    const key = new HpkeKey()
    const sender = generateKeyPairSync('x25519')
    const expected = diffieHellman({
      privateKey: sender.privateKey,
      publicKey: publicKey(X25519_PREFIX, key.entry.public_key),
    })
    const encapsulated = sender.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
    expect(key.entry.algo).toBe('hpke-x25519-hkdfsha256-aes256gcm')
    expect(Buffer.from(key.agree(encapsulated))).toEqual(expected)
  })

  test('an encapsulated key that forces a zero secret is refused', () => {
    expect(() => new HpkeKey().agree(new Uint8Array(32))).toThrow(Error)
  })

  test('an encapsulated key of another length is a TypeError', () => {
    expect(() => new HpkeKey().agree(new Uint8Array(31))).toThrow(TypeError)
  })

  test('key ids name the role and follow from the key', () => {
    const [first, second] = [new ReceiptKey(), new ReceiptKey()]
    expect(first.entry.key_id).toMatch(/^receipt-[0-9a-f]{16}$/)
    expect(new HpkeKey().entry.key_id).toMatch(/^e2ee-[0-9a-f]{16}$/)
    expect(first.entry.key_id).not.toBe(second.entry.key_id)
  })

  test('the handle that signs the certificate cannot be exported', async () => {
    const signer = new ServerKey().certificateSigner()
    expect(signer.extractable).toBe(false)
    await expect(crypto.subtle.exportKey('pkcs8', signer)).rejects.toThrow(DOMException)
  })

  test.each([new ServerKey(), new ReceiptKey(), new HpkeKey()])(
    'nothing secret shows when %o is printed or serialised',
    (key) => {
      const shown =
        inspect(key, { showHidden: true, getters: true, depth: 9 }) + JSON.stringify(key)
      expect(shown).not.toMatch(/private/i)
    },
  )
})
