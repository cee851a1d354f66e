import { expect, test } from 'vitest'
import { newPassword } from '#windows/password.ts'

test('a password is long, of three classes, and harmless where it is written', () => {
  const passwords = Array.from({ length: 500 }, newPassword)
  expect(new Set(passwords).size).toBe(500)
  for (const password of passwords) {
    expect(password).toMatch(/^[A-Za-z0-9]{20,}$/)
    for (const one of [/[A-Z]/, /[a-z]/, /[0-9]/]) expect(password).toMatch(one)
  }
})

test('every character is in use', () => {
  const seen = new Set(Array.from({ length: 500 }, newPassword).join(''))
  expect(seen.size).toBeGreaterThan(50)
  for (const unclear of '0O1lI') expect(seen).not.toContain(unclear)
})
