import { toHex } from '@vouchgate/attestation'
import { GatewayError } from '../errors.ts'
import { expose, Sensitive } from '../sensitive.ts'
import { NearClientKey, NearRecipient } from './near-field.ts'
import { openCompletion, openEvent } from './near-reply.ts'
import { sealRequest } from './near-request.ts'
import { FieldOpening } from './opening-sink.ts'
import type { Seal } from './seal.ts'

const OPERATION = '/chat/completions'

/**
 * NEAR AI's encryption of fields, version 2 with Ed25519 keys and all fields: every string that is content is
 * encrypted on its own, to the model's attested key and back to a key made for this message.
 *
 * Nothing ties a field to its place or to this request: a router can move, repeat or leave out what it cannot read.
 */
export const sealNear: Seal = async (outbound, binding) => {
  const { message } = outbound
  if (binding.protocol !== 'near-ed25519-v2') throw new TypeError('another protocol')
  if (message.operation !== OPERATION) throw new GatewayError('request_not_encryptable')
  const recipient = new NearRecipient(binding.publicKey)
  const client = new NearClientKey()
  const body = sealRequest(expose(message.body), (text) => recipient.seal(text))
  const open = (sealed: string): string => client.open(sealed)
  await Promise.resolve()
  return {
    request: {
      path: outbound.path,
      headers: {
        ...outbound.headers,
        'x-signing-algo': 'ed25519',
        'x-client-pub-key': client.publicKeyHex,
        'x-model-pub-key': toHex(binding.publicKey),
        'x-encryption-version': '2',
        'x-encrypt-all-fields': 'true',
      },
      body: new Sensitive(body),
    },
    open: (sink) =>
      new FieldOpening(sink, {
        whole: (value) => openCompletion(value, open),
        event: (value) => openEvent(value, open),
      }),
  }
}
