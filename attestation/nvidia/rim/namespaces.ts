/** Software identification tags (ISO/IEC 19770-2). */
export const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd'
/** Reference integrity manifests of the Trusted Computing Group. */
export const TCG_RIM =
  'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/'
/** In which the alternatives of a reference value are named. */
export const HASH = 'http://www.w3.org/2001/04/xmlenc#sha384'
/** XML signatures. */
export const DS = 'http://www.w3.org/2000/09/xmldsig#'
