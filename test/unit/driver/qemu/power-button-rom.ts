import { writeFileSync } from 'node:fs'

/**
 * Firmware that does one thing: it waits for the power button and switches off, as an operating system would. Assembled
 * from 16-bit code: point PMBASE (ICH9, device 31.0, register 40h) at port 600h, switch ACPI on (register 44h), enable
 * the button in PM1_EN, poll PM1_STS for it, and write SLP_EN to PM1_CNT.
 */
const CODE =
  'fa66b840f80080baf80c66efbafc0c66b80106000066ef66b844f80080baf80c66efbafc0cb080ee' +
  'ba0206b80001efba0006eda9000174f7ba0406b80020efebfe'

export function writePowerButtonRom(file: string): void {
  const rom = Buffer.alloc(65_536, 0xf4)
  Buffer.from(CODE, 'hex').copy(rom, 0xff00)
  // The processor begins at fff0h: a near jump back to ff00h.
  rom.writeUInt8(0xe9, 0xfff0)
  rom.writeInt16LE(0xff00 - 0xfff3, 0xfff1)
  writeFileSync(file, rom)
}
