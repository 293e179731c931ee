// benchmark: what searches lose while the agent builds and tries in the background
// 100,000 x 768 made vectors; raw floats, one a request. In turns the agent is paused, or at an
// index that it has not finished with (min_gain keeps it from promoting, which would change the
// searches); both are medians of the rounds.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { measureSearches, startMade } from './made_index.mjs'
import { build, median, printTable, quick } from './report.mjs'

const config = join(build, 'bench-agent.toml'), ef = 34, rounds = quick ? 3 : 9
writeFileSync(config, '[agent]\nenabled = true\ncooldown_s = 0\nmax_trials_per_hour = 100000\nperiod_s = 0\nmin_gain = 0.9\n')
const made = await startMade(quick ? 10000 : 100000, 768, { args: ['--config', config] })
const post = path => fetch(made.server.url + path, { method: 'POST' })
const trials = async () => (await (await fetch(`${made.server.url}/vectors/trials/made`)).json()).length
const rates = { paused: [[], []], working: [[], []] }
let seconds = 0, tried = 0
for (let round = 0; round < rounds; round++)
  for (const state of ['paused', 'working']) {
    await post(`/vectors/agent/${state === 'paused' ? 'pause' : 'resume'}`)
    if (state === 'working') await post('/vectors/agent/enqueue/made')
    await new Promise(done => setTimeout(done, 1500))
    const before = await trials(), started = Date.now()
    for (let i = 0; i < 10; i++) {
      const rate = measureSearches(made, ef, 5, 'raw')
      rates[state][0].push(rate.raw1)
      rates[state][1].push(rate.raw2)
    }
    if (state === 'working') seconds += (Date.now() - started) / 1000, tried += await trials() - before
  }
const middle = Object.fromEntries(Object.entries(rates).map(([state, clients]) => [state, clients.map(median)]))
printTable(['searches', 'agent paused, q/s', 'agent at work', 'kept'],
  [0, 1].map(i => [`${i + 1} client${i ? 's' : ''}`, middle.paused[i], middle.working[i], middle.working[i] / middle.paused[i]]))
console.log(`the agent finished ${tried} trials in those ${seconds.toFixed(0)} s`)
await made.server.stop()
