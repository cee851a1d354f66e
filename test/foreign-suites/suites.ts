import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { XMLParser } from 'fast-xml-parser'
import { type Result, run } from '../support/command.ts'

export type Outcome = 'passed' | 'failed' | 'skipped'
/** What became of each test, by its name. */
export type Outcomes = Map<string, Outcome>

export interface Suite {
  name: string
  /** Runs the suite of this checkout against the engine at `url`; `folder` takes its report. Rejects when there is none. */
  outcomes: (checkout: string, url: string, folder: string) => Promise<Outcomes>
}

const LIMIT_MS = 45 * 60_000

// Swarm, services, nodes and plugins are left out: no Windows machine of Oriel has them.
const DOCKERODE = ['buildkit_test', 'container', 'docker', 'image', 'networks', 'promises', 'util']
const DOCKER_PY = [
  ...['build', 'client', 'container', 'exec', 'healthcheck', 'image', 'network', 'volume'].map(name => `api_${name}`),
  ...['client', 'errors', 'regression'],
  ...['containers', 'images', 'networks', 'resources', 'volumes'].map(name => `models_${name}`)
]

export const SUITES: readonly Suite[] = [
  { name: 'dockerode', outcomes: runDockerode },
  { name: 'docker-py', outcomes: runDockerPy }
]

async function runDockerode(checkout: string, url: string, folder: string): Promise<Outcomes> {
  const report = join(folder, 'mocha.json')
  const mocha = [
    'node_modules/mocha/bin/mocha.js',
    '--exit',
    '--reporter',
    'json',
    '--reporter-option',
    `output=${report}`
  ]
  const files = DOCKERODE.map(name => `test/${name}.js`)
  // The suite takes the machine's own socket where there is one, and only else what DOCKER_HOST says.
  const hide = 'test ! -S /var/run/docker.sock || mount --bind /dev/null /var/run/docker.sock; exec "$@"'
  const argv = ['--mount', 'sh', '-c', hide, 'sh', process.execPath, ...mocha, ...files]
  const result = await run('unshare', argv, { cwd: checkout, env: environment(url, folder), timeoutMs: LIMIT_MS })
  return readReport(report, result, mochaOutcomes)
}

async function runDockerPy(checkout: string, url: string, folder: string): Promise<Outcomes> {
  const report = join(folder, 'junit.xml')
  const files = DOCKER_PY.map(name => `tests/integration/${name}_test.py`)
  const argv = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--timeout=180', `--junitxml=${report}`, ...files]
  const env = { ...environment(url, folder), PYTHONPATH: checkout, PYTHONDONTWRITEBYTECODE: '1' }
  // Debian's own, since that is where its packages go.
  const result = await run('/usr/bin/python3', argv, { cwd: checkout, env, timeoutMs: LIMIT_MS })
  return readReport(report, result, junitOutcomes)
}

const environment = (url: string, folder: string) => ({ DOCKER_HOST: url, DOCKER_CONFIG: folder })

function readReport(file: string, result: Result, parse: (text: string) => Outcomes): Outcomes {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new Error(`No report; exit code ${result.code}:\n${(result.stdout + result.stderr).slice(-3000)}`, { cause })
  }
  return parse(text)
}

/** Outcomes from the report of mocha's json reporter. A hook that fails is in it under a name of its own. */
export function mochaOutcomes(text: string): Outcomes {
  const report = JSON.parse(text) as Record<'passes' | 'failures' | 'pending', { fullTitle: string }[]>
  return new Map([
    ...named(
      report.passes.map(test => test.fullTitle),
      'passed'
    ),
    ...named(
      report.failures.map(test => test.fullTitle),
      'failed'
    ),
    ...named(
      report.pending.map(test => test.fullTitle),
      'skipped'
    )
  ])
}

/** Outcomes from a JUnit report as pytest writes it. What is wrong in a test's teardown is a failure of the test. */
export function junitOutcomes(text: string): Outcomes {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '',
    isArray: name => name === 'testcase'
  })
  const cases: Record<string, unknown>[] = parser.parse(text).testsuites.testsuite.testcase ?? []
  const outcomes: Outcomes = new Map()
  for (const test of cases) {
    const name = `${String(test.classname)}.${String(test.name)}`
    const outcome = 'failure' in test || 'error' in test ? 'failed' : 'skipped' in test ? 'skipped' : 'passed'
    if (outcomes.get(name) !== 'failed') outcomes.set(name, outcome)
  }
  return outcomes
}

/** The second test of a name is told by a number, as long as both have the same outcome. */
function named(titles: readonly string[], outcome: Outcome): [string, Outcome][] {
  const seen = new Map<string, number>()
  return titles.map(title => {
    const count = (seen.get(title) ?? 0) + 1
    seen.set(title, count)
    return [count === 1 ? title : `${title} (${count})`, outcome]
  })
}
