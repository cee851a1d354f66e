/** What long work says while it goes on. Only the command line turns it into text on a screen. */
export type ProgressEvent =
  | { type: 'stage'; stage: string; state: 'started' | 'done' | 'failed'; detail?: string }
  /** Something within a stage; `fraction` (0 to 1) where it is known. */
  | { type: 'step'; stage: string; text: string; fraction?: number }
  /** A line that a person should read whatever else happens. */
  | { type: 'notice'; text: string }

export type Report = (event: ProgressEvent) => void
