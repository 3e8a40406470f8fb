import { collateralKey, ISSUER_CHAIN_HEADERS, pcsRoutes } from '@vouchgate/attestation'
import { expect, test } from 'vitest'
import { replayedCertificate, replayedCollateral } from '../../client/capture.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

test('collateral of which a part was not recorded is not there', async () => {
  const quote = await createTeeVendor().quote({ reportData: new Uint8Array(64) })
  const routes = pcsRoutes(await collateralKey(quote))
  const exchange = (path: string, headers: Record<string, string>) => ({
    url: new URL(path, 'https://pcs.invalid'),
    headers,
    method: 'GET',
    status: 200,
    body: new Uint8Array(),
    spkiSha256: null,
  })
  const recorded = [
    exchange(routes.tcb, { [ISSUER_CHAIN_HEADERS.tcb]: 'chain' }),
    exchange(routes.qeIdentity, { [ISSUER_CHAIN_HEADERS.qeIdentity]: 'chain' }),
    exchange(routes.pckCrl, { [ISSUER_CHAIN_HEADERS.pckCrl]: 'chain' }),
    exchange('/IntelSGXRootCA.der', {}),
  ]
  for (const missing of recorded) {
    const exchanges = recorded.filter((each) => each !== missing)
    const capture = { provider: 'aci', model: null, nonce: null, capturedAt: 0, exchanges }
    await expect(replayedCollateral(capture)(quote)).rejects.toMatchObject({
      code: 'collateral_unavailable',
    })
  }
})

test('a certificate that was not recorded is not there', async () => {
  const capture = { provider: 'aci', model: null, nonce: null, capturedAt: 0, exchanges: [] }
  await expect(replayedCertificate(capture)('https://a.invalid')).rejects.toMatchObject({
    code: 'report_unavailable',
  })
})
