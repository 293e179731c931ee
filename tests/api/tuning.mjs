// Eval sets, trials, grids and champions of an index: measured on its own rows, kept with it.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const words = 'river stone cloud engine garden mirror copper violin harbor lantern meadow signal thunder velvet walnut yellow zephyr anchor basket candle'.split(' ')
const rows = 3000
let seed = 1
const random = n => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
const texts = Array.from({ length: rows }, (_, i) => `${Array.from({ length: 9 }, () => words[random(words.length)]).join(' ')} number ${i % 61}`)
await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', texts.map((text, i) => JSON.stringify({ id: i, text })).join('\n'))
same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })).status, 201)
const put = (name, body, index = 'notes') => call(server, 'PUT', `/vectors/evals/${index}/${name}`, body)
const trial = body => call(server, 'POST', '/vectors/trials/notes', body)
const champion = async () => (await call(server, 'GET', '/vectors/promotions/notes')).json.champion
const builds = () => readdirSync(join(data, 'primary/vectors/notes/hnsw'))

await check('an eval set of texts has exact answers, best first; one of a sample is the same for the same seed', async () => {
  same((await put('asked', { queries: [texts[0], 'copper violin', 'yellow walnut'] })).json?.count, 3)
  const asked = (await call(server, 'GET', '/vectors/evals/notes/asked')).json
  same([asked.queries[0].text, asked.queries[0].answers.length], [texts[0], 100])
  const scores = asked.queries[0].answers.map(answer => answer.score)
  truth(scores.every((score, i) => i === 0 || score <= scores[i - 1]) && scores[0] > 0.99, scores)
  const exact = (await call(server, 'POST', '/vectors/search', { index: 'notes', query: 'copper violin', k: 20, exact: true, rows: false })).json.hits
  truth(Math.abs(exact[19].score - asked.queries[1].answers[19].score) < 1e-5, 'another 20th answer')
  const sampled = []
  for (const name of ['s1', 's2']) {
    same((await put(name, { sample: 50, seed: 7 })).status, 201)
    sampled.push((await call(server, 'GET', `/vectors/evals/notes/${name}`)).json.queries)
  }
  same(sampled[0], sampled[1])
  same((await call(server, 'GET', '/vectors/evals/notes')).json.map(one => one.name), ['asked', 's1', 's2'])
  same((await call(server, 'DELETE', '/vectors/evals/notes/s2')).json, { name: 's2', deleted: true })
  problem(await call(server, 'GET', '/vectors/evals/notes/s2'), 404, 'eval_not_found')
})

await check('what is wrong with an eval set is said', async () => {
  problem(await put('x', {}), 400, 'missing_field')
  problem(await put('x', { queries: [] }), 400, 'bad_queries')
  problem(await put('x', { queries: [[1, 2]] }), 422, 'wrong_dimension')
  problem(await put('x', { queries: [true] }), 400, 'wrong_type')
  problem(await put('..x', { sample: 5 }), 400, 'bad_eval_name')
  problem(await put('x', { sample: 5 }, 'none'), 404, 'index_not_found')
})

await check('a trial measures recall and speed, and is journaled with a number', async () => {
  const wide = await trial({ config: { ef_search: 400 }, eval: 's1' })
  same([wide.status, wide.json?.trial, wide.json?.config], [201, 1, { m: 16, ef_construction: 200, ef_search: 400 }], wide.text)
  const narrow = (await trial({ config: { ef_search: 10 }, eval: 's1' })).json
  truth(wide.json.recall >= narrow.recall && narrow.recall > 0.2 && wide.json.recall > 0.9, JSON.stringify([wide.json, narrow]))
  for (const one of [wide.json, narrow]) truth(one.p50_us > 0 && one.p99_us >= one.p50_us && one.qps > 100 && one.memory_bytes > 1e6, JSON.stringify(one))
  for (const one of [wide.json, narrow])
    for (const value of [one.p50_us, one.p99_us, one.qps, one.build_ms]) truth(/^\d+(\.\d)?$/.test(value), `${value} has more than one decimal`)
  const other = (await trial({ config: { m: 4, ef_construction: 20, ef_search: 400 }, eval: 's1', k: 20 })).json
  truth(other.build_ms > 0 && other.memory_bytes < wide.json.memory_bytes, JSON.stringify(other))
  same((await call(server, 'GET', '/vectors/trials/notes')).json.map(one => [one.trial, one.k]), [[1, 10], [2, 10], [3, 20]])
  problem(await trial({ config: { ef_search: 0 }, eval: 's1' }), 400, 'out_of_range')
  problem(await trial({ config: { nprobes: 5 }, eval: 's1' }), 400, 'unknown_field')
  problem(await trial({ eval: 'none' }), 404, 'eval_not_found')
})

await check('a promotion changes how the next search runs, with a new build where one is needed, and a rollback goes back', async () => {
  const [first] = builds()
  same((await champion()).by, 'created')
  const promoted = await call(server, 'POST', '/vectors/promotions/notes', { trial: 2 })
  same([promoted.status, promoted.json?.trial, promoted.json?.by], [200, 2, 'user'], promoted.text)
  same(builds(), [first]) // the width of a search needs none
  same((await call(server, 'GET', '/vectors/indexes/notes')).json.config.ef_search, 10)
  same((await call(server, 'POST', '/vectors/promotions/notes', { trial: 3 })).status, 200)
  truth(builds().length === 1 && builds()[0] !== first, 'the build did not change')
  same((await call(server, 'POST', '/vectors/search', { index: 'notes', query: texts[5] })).json.hits[0].text, texts[5])
  same((await call(server, 'POST', '/vectors/promotions/notes/rollback')).json.trial, 2)
  same((await call(server, 'POST', '/vectors/promotions/notes/rollback')).json.config, { m: 16, ef_construction: 200, ef_search: 256 })
  problem(await call(server, 'POST', '/vectors/promotions/notes/rollback'), 409, 'nothing_before')
  problem(await call(server, 'POST', '/vectors/promotions/notes', { trial: 99 }), 404, 'trial_not_found')
  const { history } = (await call(server, 'GET', '/vectors/promotions/notes')).json
  same(history.map(one => one.by), ['created', 'user', 'user', 'rollback', 'rollback'])
})

await check('a grid is tried whole; the quickest that keeps the recall is promoted when asked', async () => {
  const tuned = await call(server, 'POST', '/vectors/autotune/notes?wait=true', { grid: { m: [8, 16], ef_search: [20, 100, 400] }, eval: 's1', min_recall: 0.9, promote: true })
  same([tuned.status, tuned.json?.trials?.length, tuned.json?.promoted], [200, 6, true], tuned.text)
  const fit = tuned.json.trials.filter(one => one.recall >= 0.9)
  same(tuned.json.best.p50_us, Math.min(...fit.map(one => one.p50_us)))
  same([(await champion()).trial, (await champion()).by], [tuned.json.best.trial, 'autotune'])
  const none = await call(server, 'POST', '/vectors/autotune/notes?wait=true', { grid: { m: [2], ef_construction: [10] }, k: 100, eval: 's1', min_recall: 1, promote: true })
  same([none.json?.best, none.json?.promoted], [null, false], none.text)
  problem(await call(server, 'POST', '/vectors/autotune/notes?wait=true', { grid: { nprobes: [1] }, eval: 's1' }), 400, 'bad_grid')
})

await check('what a kill left of the other backend, half-way through a migration, is passed over and stops nothing', async () => {
  const at = (verb, path, body) => call(server, verb, path.replace('IDX', 'twin'), body)
  same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'twin', dataset: 'notes', text_column: 'text' })).status, 201)
  same((await put('s', { sample: 20, seed: 3 }, 'twin')).status, 201)
  same((await at('POST', '/vectors/trials/IDX', { config: { ef_search: 50 }, eval: 's' })).status, 201)
  same((await at('POST', '/vectors/promotions/IDX', { trial: 1 })).status, 200)
  const logs = ['trials.log', 'promotions.log'].map(name => join(data, 'primary/vectors/twin', name))
  const kept = logs.map(log => readFileSync(log))
  same((await at('POST', '/vectors/lance/migrate/IDX?wait=true')).json.vector_backend, 'lance')
  same(logs.map(existsSync), [false, false])
  await server.stop()
  logs.forEach((log, i) => writeFileSync(log, kept[i]))
  server = await startServer(data)
  same((await at('GET', '/vectors/trials/IDX')).json, [])
  const state = (await at('GET', '/vectors/promotions/IDX')).json
  same([state.champion?.by, state.champion?.config?.ef_search, state.history], ['created', undefined, []], JSON.stringify(state))
  const listed = (await call(server, 'GET', '/vectors/promotions')).json.find(one => one.index === 'twin')
  same([listed.error, listed.by], [null, 'created'])
  const tried = await at('POST', '/vectors/trials/IDX', { config: { nprobes: 30, refine: 20 }, eval: 's' })
  same(tried.status, 201, tried.text)
  same((await at('POST', '/vectors/promotions/IDX', { trial: tried.json.trial })).status, 200)
  same((await at('GET', '/vectors/promotions/IDX')).json.champion.trial, tried.json.trial)
  const back = await at('POST', '/vectors/promotions/IDX/rollback')
  same([back.status, back.json.config], [200, state.champion.config], back.text)
  problem(await at('POST', '/vectors/promotions/IDX/rollback'), 409, 'nothing_before')
  same((await at('DELETE', '/vectors/indexes/IDX')).status, 200)
})

await check('all of it is there after a kill, once per index, and goes with the index', async () => {
  const before = [await champion(), (await call(server, 'GET', '/vectors/trials/notes')).text]
  await server.stop('SIGKILL')
  server = await startServer(data)
  same([await champion(), (await call(server, 'GET', '/vectors/trials/notes')).text], before)
  const all = (await call(server, 'GET', '/vectors/promotions')).json
  same(all.map(one => [one.index, one.trial, one.bucket]), [['notes', before[0].trial, 'primary']])
  same((await call(server, 'DELETE', '/vectors/indexes/notes')).status, 200)
  truth(!existsSync(join(data, 'primary/vectors/notes')), 'it left something')
})
await server.stop()
