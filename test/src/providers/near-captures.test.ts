import {
  isVerificationError,
  appraiseEvidence,
  decodeProviderEvidence,
  observingPolicy,
  recordedPolicy,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { collectFromCapture, kindOf } from '../../../cli/capture-provider.ts'
import { readCapture } from '../../../client/index.ts'
import { hasVectors, vectorCases, vectorPath } from '../../support/vectors.ts'

/** Real exchanges, judged at their own time and by their own documents. */
async function outcome(
  folder: string,
  name: string,
  change: (policy: ProviderPolicy) => ProviderPolicy = (policy) => policy,
) {
  const capture = await readCapture(vectorPath(folder, name))
  const kind = kindOf(capture)
  if (kind === null) throw new Error('unknown kind')
  try {
    const evidence = await collectFromCapture(kind, capture)
    const [endpoint] = await appraiseEvidence({
      evidence,
      challenge: capture.nonce ?? 'recorded',
      now: capture.capturedAt,
      policy: change(recordedPolicy(decodeProviderEvidence(evidence))),
    })
    return { code: 'accepted', endpoint }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return { code: error.code, endpoint: null }
  }
}

const named = (prefix: string): string[] => vectorCases('providers', prefix, ['manifest.json'])

describe.skipIf(!hasVectors)('a recorded exchange', () => {
  test.for(named('teep-neardirect'))('%s with a model node is accepted', async (name) => {
    const { code, endpoint } = await outcome('providers', name)
    expect(code).toBe('accepted')
    expect(endpoint?.bindings.map(({ kind }) => kind)).toEqual(['tls-spki-sha256'])
    expect(endpoint?.claims.extra).toMatchObject({ tcb_status: 'UpToDate', gpu_count: 8 })
  })

  test.for([
    ['teep-nearcloud_qwen_qwen3.5-122b-a10b_20260629_020657', 'accepted'],
    // The router ran TDX module 1.5 at SVN 2 where Intel's baseline was 3; nobody had looked at the router's TCB.
    ['teep-nearcloud_qwen_qwen3.5-122b-a10b_20260610_014855', 'tcb_status_not_accepted'],
  ] as const)('%s with the router is %s', async ([name, code]) => {
    expect((await outcome('providers', name)).code).toBe(code)
  })

  test('with the router names both keys', async () => {
    const { endpoint } = await outcome(
      'providers',
      'teep-nearcloud_qwen_qwen3.5-122b-a10b_20260629_020657',
    )
    expect(endpoint?.bindings.map(({ kind }) => kind)).toEqual([
      'tls-spki-sha256',
      'e2ee-public-key',
    ])
    expect(endpoint?.claims.extra).toMatchObject({
      gateway_tcb_status: 'UpToDate',
      gpu_count: 8,
      gpu_binding: 'shared-nonce',
    })
  })

  test.for(named('teep-venice'))(
    '%s with a service that passes a node on is refused',
    async (name) => {
      // The quote binds a signing key and no TLS key: whoever passes it on can read the prompt.
      expect((await outcome('providers', name)).code).toBe('provider_keys_not_bound')
    },
  )

  test.for(named('teep-nanogpt_tee'))('%s with a development image is refused', async (name) => {
    expect((await outcome('providers', name)).code).toBe('os_image_development')
  })

  test.for(named('teep-phalacloud'))(
    '%s that answers its own challenge is refused',
    async (name) => {
      expect((await outcome('providers', name)).code).toBe('nonce_mismatch')
    },
  )
})
