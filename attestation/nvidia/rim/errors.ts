const malformed = (message: string) => ({ kind: 'malformed', step: 'rim', message }) as const
const rejected = (message: string) => ({ kind: 'rejected', step: 'rim', message }) as const

/** Part of the table of `attestation/errors.ts`. */
export const RIM_EVIDENCE_ERRORS = {
  rim_size: malformed('the reference values are empty or larger than 1 MiB'),
  rim_encoding: malformed('the reference values are not UTF-8'),
  rim_xml_malformed: malformed('the reference values are not well-formed XML'),
  rim_xml_doctype: malformed('the reference values have a document type declaration'),
  rim_xml_comment: malformed('the reference values have a comment'),
  rim_xml_instruction: malformed('the reference values have a processing instruction'),
  rim_xml_cdata: malformed('the reference values have a CDATA section'),
  rim_xml_entity: malformed('the reference values use an entity other than the five of XML'),
  rim_xml_attribute_reserved: malformed('the reference values use a name that XML reserves'),
  rim_xml_attribute_duplicate: malformed('an element of the reference values repeats an attribute'),
  rim_xml_prefix_unbound: malformed('the reference values use a prefix that is not declared'),
  rim_xml_limit: malformed(
    'the reference values have more depth, nodes or attributes than allowed',
  ),
  rim_root_unexpected: malformed('the reference values are not a software identity tag'),
  rim_signature_missing: rejected('the reference values are not signed'),
  rim_signature_duplicate: rejected('the reference values have more than one signature'),
  rim_signature_misplaced: rejected(
    'the signature of the reference values is not the last element of the root',
  ),
  rim_signature_malformed: rejected(
    'the signature of the reference values has other parts than it must have',
  ),
  rim_signed_info_malformed: rejected(
    'the signature of the reference values does not have exactly one reference and two algorithms',
  ),
  rim_signature_algorithm: rejected(
    'the signature of the reference values names an algorithm that is not accepted',
  ),
  rim_signature_reference: rejected(
    'the signature of the reference values is not over the whole document',
  ),
  rim_signature_transform: rejected(
    'the signature of the reference values has other transforms than the two it must have',
  ),
  rim_digest_mismatch: rejected('the reference values do not hash to the signed digest'),
  rim_signature_invalid: rejected('the reference values are not signed by their certificate'),
  rim_document_malformed: malformed('the reference values lack what they must have, or repeat it'),
  rim_manufacturer_unknown: rejected('the reference values are not for NVIDIA firmware'),
  rim_edition_unknown: rejected('the reference values are for neither a GPU nor a switch'),
  rim_version_unknown: rejected(
    'the version of the reference values is neither that of a driver nor of a VBIOS',
  ),
  rim_resource_malformed: malformed('a reference value is not of a measurement'),
  rim_index_malformed: malformed('the index of a reference value is not 0 to 254'),
  rim_index_duplicate: malformed('two reference values have one index'),
  rim_active_malformed: malformed('a reference value is neither active nor inactive'),
  rim_size_unsupported: malformed('a reference value is not of 48 bytes'),
  rim_alternatives_mismatch: malformed(
    'a reference value does not have the alternatives that it counts',
  ),
  rim_hash_malformed: malformed('an alternative of a reference value is not 48 bytes in hex'),
  rim_nothing_active: rejected('none of the reference values is active'),
  rim_answer_malformed: malformed(
    'the answer of the RIM service is not of the form it should have',
  ),
  rim_answer_id_mismatch: rejected('the RIM service answered with other reference values'),
  rim_answer_digest_mismatch: rejected(
    'the reference values do not hash to the digest that the RIM service states',
  ),
  rim_id_malformed: rejected('the names of a device are not such that reference values have'),
  rim_set_mismatch: rejected('two of the reference values are for one firmware, or for none here'),
  rim_set_incomplete: rejected('there are no reference values for a firmware of the device'),
  rim_revision_ambiguous: rejected('two revisions of the reference values were signed at one time'),
  rim_product_mismatch: rejected('the reference values are for another chip'),
  rim_version_mismatch: rejected('the reference values are for another firmware version'),
  rim_index_conflict: rejected('both reference values claim one measurement'),
  rim_index_beyond_report: rejected('a reference value is for a measurement that is not reported'),
  rim_nvdec_status_unknown: rejected('the device reports an unknown state of its video decoder'),
  rim_nothing_compared: rejected('no measurement was compared with one of the reference values'),
} as const
