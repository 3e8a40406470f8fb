/** What the boot document and session documents name as the software; a test compares it with package.json. */
export const SOFTWARE = 'vouchgate/0.1.0'
