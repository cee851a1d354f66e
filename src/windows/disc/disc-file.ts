/** A file of a disc that is to be written. */
export interface DiscFile {
  /** As on the disc, with `/` between folders: `oriel/setup.json`. */
  path: string
  /** Text is written as UTF-8; `file` is a file of this host, copied in pieces. */
  content: string | Buffer | { file: string }
}
