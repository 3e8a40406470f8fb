/** AMD's key distribution service. */
export const KDS_URL = 'https://kdsintf.amd.com'
/** Tinfoil's proxy of GitHub's routes for releases and attestations, which answers without an account. */
export const RELEASES_URL = 'https://github-proxy.tinfoil.sh'
/** NVIDIA's reference manifests. */
export const NVIDIA_RIM_URL = 'https://rim.attestation.nvidia.com'
/** NVIDIA's OCSP responder. */
export const NVIDIA_OCSP_URL = 'https://ocsp.ndis.nvidia.com/'
