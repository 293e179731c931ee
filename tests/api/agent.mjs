// The agent: an append leads, with nobody asking, to trials and a promotion; guardrails hold; its
// journal replays; a pause and a restart keep what it knows.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir(), folder = freshDir()
function config(more = {}) {
  const path = join(folder, 'lakehouse.toml')
  const agent = { enabled: true, cooldown_s: 0, period_s: 0, min_recall: 0.9, max_trials_per_hour: 60, trials_per_visit: 12, lease_s: 3, sample: 60, ...more }
  writeFileSync(path, '[agent]\n' + Object.entries(agent).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join(''))
  return ['--config', path]
}
let server = await startServer(data, { args: config() })
const get = async path => (await call(server, 'GET', path)).json
const status = () => get('/vectors/agent/status')
async function until(what, test, ms = 60000) {
  for (const end = Date.now() + ms; !(await test()); await sleep(50)) truth(Date.now() < end, `${what}: ${JSON.stringify(await status())}`)
}
const idle = () => until('idle', async () => { const now = await status(); return now.state === 'idle' && now.queue.length === 0 })

const dimensions = 32, rows = 4000
let seed = 1
const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648 - 0.5
const lines = (from, to) => Array.from({ length: to - from }, (_, i) => JSON.stringify({ id: from + i, v: Array.from({ length: dimensions }, random) })).join('\n')
const append = (from, to) => call(server, 'POST', '/ingest/file?dataset=points&format=ndjson&mode=append', lines(from, to))

await check('a file that is appended leads, with nobody asking, to trials and a promotion', async () => {
  same((await call(server, 'POST', '/ingest/file?dataset=points&format=ndjson', lines(0, rows))).json.agent_enqueued, [])
  same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'points', dataset: 'points', vector_column: 'v' })).status, 201)
  same((await append(rows, rows + 10)).json.agent_enqueued, ['points'])
  await until('a promotion', async () => (await get('/vectors/promotions/points')).champion.by === 'agent')
  await idle()
  same([(await get('/vectors/indexes/points')).stale, (await get('/vectors/indexes/points')).rows], [false, rows + 10])
  const [trials, now] = [await get('/vectors/trials/points'), await status()]
  truth(trials.length > 1 && now.trials === trials.length && now.decisions.length === trials.length, JSON.stringify(now))
  const { champion } = await get('/vectors/promotions/points')
  truth(champion.recall >= 0.9, JSON.stringify(champion))
  truth(champion.p50_us < trials[0].p50_us, `${champion.p50_us} is no faster than ${trials[0].p50_us}`)
  truth(now.decisions.every(one => one.why.length > 5), JSON.stringify(now.decisions))
})

await check('no configuration is tried twice, and what was tried lies within bounds', async () => {
  const trials = await get('/vectors/trials/points')
  same(new Set(trials.map(one => JSON.stringify([one.config, one.rows]))).size, trials.length)
  for (const { config } of trials) truth(config.m >= 4 && config.m <= 64 && config.ef_search >= 16 && config.ef_search <= 1024, JSON.stringify(config))
})

await check('it pauses, goes on, and knows after a restart what it tried', async () => {
  same((await call(server, 'POST', '/vectors/agent/pause')).json.paused, true)
  same((await call(server, 'POST', '/vectors/agent/enqueue/points')).status, 202)
  const before = (await get('/vectors/trials/points')).length
  await sleep(500)
  same([(await get('/vectors/trials/points')).length, (await status()).queue], [before, ['points']])
  await call(server, 'POST', '/vectors/agent/resume')
  await until('another trial', async () => (await get('/vectors/trials/points')).length > before)
  problem(await call(server, 'POST', '/vectors/agent/enqueue/none'), 404, 'index_not_found')
  await server.stop('SIGKILL')
  server = await startServer(data, { args: config({ max_trials_per_hour: 2 }) })
  const known = await get('/vectors/trials/points')
  await call(server, 'POST', '/vectors/agent/enqueue/points')
  await until('two trials', async () => (await get('/vectors/trials/points')).length === known.length + 2)
  await until('waiting', async () => (await status()).state === 'waiting') // the second is judged first
  await sleep(400)
  const trials = await get('/vectors/trials/points'), now = await status()
  same([trials.length, now.state, now.trials_last_hour], [known.length + 2, 'waiting', 2]) // the third must wait for the hour
  same(new Set(trials.map(one => JSON.stringify([one.config, one.rows]))).size, trials.length)
})

await check('a recall that cannot be reached promotes nothing, and is said', async () => {
  await server.stop()
  server = await startServer(data, { args: config({ min_recall: 1, k: 100, eval: 'strict', trials_per_visit: 4 }) })
  const before = (await get('/vectors/promotions/points')).history.length
  await call(server, 'PUT', '/vectors/evals/points/strict', { sample: 60, seed: 3 })
  await call(server, 'POST', '/vectors/agent/enqueue/points')
  await sleep(200)
  await idle()
  const { history } = await get('/vectors/promotions/points')
  for (const one of history.slice(before)) same(one.recall, 1)
  truth((await status()).decisions.some(one => /recall .* is below/.test(one.why) || one.recall === 1), JSON.stringify(await status()))
})

await check('an agent that is off says so', async () => {
  await server.stop()
  server = await startServer(data, { args: config({ enabled: false }) })
  same([(await status()).enabled, (await status()).state], [false, 'off'])
  problem(await call(server, 'POST', '/vectors/agent/enqueue/points'), 409, 'agent_disabled')
  same((await append(rows + 10, rows + 20)).json.agent_enqueued, [])
})
await server.stop()
