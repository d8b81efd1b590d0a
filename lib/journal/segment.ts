/**
 * The head of a segment, and the names of files. Pure.
 *
 *      0        4096       8192       12288
 *      | header | anchor A | anchor B | frame | frame | ...
 *
 * The anchors alternate between two places, so that a torn write leaves the one before. They need no room that
 * a full disk could refuse. Each is in a page of its own.
 */

/**
 * "From this byte of the stream on, the bytes go to this object, at this tail." The anchor with the highest
 * sequence number in the folder rules. The bytes before `offset` are acknowledged.
 */
export interface Anchor {
  /** Stream offset. */
  readonly offset: number
  readonly bucket: string
  readonly key: string
  /** The length of the object in bytes at `offset`. */
  readonly position: number
  /** CRC-64 of the first `position` bytes of the object, an unsigned decimal string. */
  readonly crc64: string
}
