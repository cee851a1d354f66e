import { expect, test } from 'vitest'
import { counts, differencesOf, explained } from '../../foreign-suites/compare.ts'
import { junitOutcomes, mochaOutcomes } from '../../foreign-suites/suites.ts'

test('a report of mocha gives the outcome of every test, also of two that have one name', () => {
  const report = {
    passes: [{ fullTitle: '#a should b' }, { fullTitle: '#a should b' }],
    failures: [{ fullTitle: '#a "before all" hook' }],
    pending: [{ fullTitle: '#a should wait' }]
  }
  expect([...mochaOutcomes(JSON.stringify(report))]).toEqual([
    ['#a should b', 'passed'],
    ['#a should b (2)', 'passed'],
    ['#a "before all" hook', 'failed'],
    ['#a should wait', 'skipped']
  ])
})

test('a JUnit report gives the outcome of every test; an error in the teardown is a failure', () => {
  const cases = `<testcase classname="m.A" name="ok"/>
    <testcase classname="m.A" name="bad"><failure message="no">trace</failure></testcase>
    <testcase classname="m.A" name="torn"/>
    <testcase classname="m.A" name="torn"><error message="teardown">trace</error></testcase>
    <testcase classname="m.A" name="left"><skipped message="swarm"/></testcase>`
  const outcomes = junitOutcomes(`<testsuites><testsuite name="x">${cases}</testsuite></testsuites>`)
  expect([...outcomes]).toEqual([
    ['m.A.ok', 'passed'],
    ['m.A.bad', 'failed'],
    ['m.A.torn', 'failed'],
    ['m.A.left', 'skipped']
  ])
  expect(counts(outcomes)).toEqual({ passed: 1, failed: 2, skipped: 1 })
})

test('a report of a single test is one test, and one without tests is none', () => {
  const one = '<testsuites><testsuite><testcase classname="m" name="ok"/></testsuite></testsuites>'
  expect([...junitOutcomes(one)]).toEqual([['m.ok', 'passed']])
  expect([...junitOutcomes('<testsuites><testsuite name="x"></testsuite></testsuites>')]).toEqual([])
})

test('tests that fare differently are told, also those of which one run knows nothing', () => {
  const straight = new Map([
    ['a', 'passed'],
    ['b', 'failed'],
    ['c', 'passed']
  ] as const)
  const through = new Map([
    ['a', 'failed'],
    ['b', 'failed'],
    ['d', 'skipped']
  ] as const)
  expect(differencesOf('s', straight, through)).toEqual([
    { suite: 's', test: 'a', straight: 'passed', through: 'failed' },
    { suite: 's', test: 'c', straight: 'passed', through: 'not run' },
    { suite: 's', test: 'd', straight: 'not run', through: 'skipped' }
  ])
})

test('an explanation holds for its suite and test alone', () => {
  const list = [{ suite: 's', test: 'a', reason: 'because' }]
  const difference = { suite: 's', test: 'a', straight: 'passed', through: 'failed' } as const
  expect(explained(difference, list)).toBe('because')
  expect(explained({ ...difference, suite: 't' }, list)).toBeUndefined()
  expect(explained({ ...difference, test: 'b' }, list)).toBeUndefined()
})
