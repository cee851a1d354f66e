// How text must look for Windows PowerShell 5.1 to read it as it was meant: without a mark at its beginning it takes a file
// for one in the code page of the system, which is the person's choice.

/** A script with Windows' line ends, as UTF-8 with the mark. */
export function scriptText(text: string): string {
  return `\ufeff${text.replace(/^\ufeff/, '').replace(/\r\n|\r|\n/g, '\r\n')}`
}

/** JSON in ASCII alone, which is the same in every code page. */
export function jsonText(value: object): string {
  const text = JSON.stringify(value, null, 2)
  return `${text.replace(/[\u007f-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}
