import { randomInt } from 'node:crypto'

// Windows wants three of its four classes of characters. None of these needs care in XML, PowerShell or cmd, and none can be
// taken for another when somebody types it on the guest's screen.
const CLASSES = [/[A-Z]/, /[a-z]/, /[2-9]/]
const CHARACTERS = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789'
const LENGTH = 24

/** A password for a Windows account: about 140 bits of chance. */
export function newPassword(): string {
  for (;;) {
    const password = Array.from({ length: LENGTH }, () => CHARACTERS[randomInt(CHARACTERS.length)]).join('')
    if (CLASSES.every(one => one.test(password))) return password
  }
}
