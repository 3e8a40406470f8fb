/** AMD's key distribution service. */
export const KDS_URL = 'https://kdsintf.amd.com'
/** Tinfoil's proxy of GitHub's routes for releases and attestations, which answers without an account. */
export const RELEASES_URL = 'https://github-proxy.tinfoil.sh'
