// Model profiles and the GPU slot: swaps that wait for requests and for memory, that fail half-way and are mended, and
// scopes that searches cannot leave.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { startOllama } from '../kit/ollama.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const ollama = await startOllama()
for (const name of ['llama3', 'phi3', 'gemma2']) ollama.add(name, { kind: 'completion', size: 4 * 2 ** 30 })
const data = freshDir()
const env = { LAKEHOUSE_AI_PROVIDER: 'ollama', LAKEHOUSE_AI_URL: ollama.url, LAKEHOUSE_AI_EMBED_MODEL: 'nomic-embed-text',
  LAKEHOUSE_AI_DRAIN_MS: '1500', LAKEHOUSE_AI_UNLOAD_MS: '2000', LAKEHOUSE_AI_LOAD_TIMEOUT_MS: '4000' }
let server = await startServer(data, { env })

const put = (id, more) => call(server, 'PUT', `/vectors/profile/${id}`, { ollama_name: 'mistral', ...more })
const activate = id => call(server, 'POST', `/vectors/profile/${id}/activate`)
const active = async () => (await call(server, 'GET', '/vectors/profile/active')).json
const generators = () => ollama.names().filter(name => !name.startsWith('nomic'))
const embed = text => call(server, 'POST', '/ai/embed', { texts: [text] })
const state = async () => { const now = await active(); return [now.state, now.active, now.ollama_name, now.loaded] }

await check('a profile is made, changed, listed and there after a restart', async () => {
  same((await active()).state, 'idle')
  const made = await put('hr', { description: 'people', datasets: ['resumes'], hnsw: { ef_search: 99 } })
  same([made.status, made.json.embed_model, made.json.bucket, made.json.vector_backend], [201, 'nomic-embed-text', 'profile:hr', 'parquet'], made.text)
  same((await put('hr', { description: 'other' })).status, 200)
  await put('law', { id: 'law', ollama_name: 'qwen2.5', indexes: ['laws'] })
  await server.stop()
  server = await startServer(data, { env })
  const list = (await call(server, 'GET', '/vectors/profile')).json
  same(list.map(profile => [profile.id, profile.ollama_name, profile.active]), [['hr', 'mistral', false], ['law', 'qwen2.5', false]])
  same((await call(server, 'GET', '/vectors/profile/hr')).json.description, 'other')
  truth(existsSync(join(data, 'primary/_lakehouse/profiles/hr.json')), 'not where it should be')
})

await check('what is wrong with a profile is said', async () => {
  problem(await put('Active', {}), 400, 'bad_profile_id')
  problem(await put('active', {}), 400, 'bad_profile_id')
  problem(await put('a%20b', {}), 400, 'bad_profile_id')
  problem(await put('x', { id: 'y' }), 400, 'wrong_id')
  problem(await put('x', { ollama_name: '' }), 400, 'missing_field')
  problem(await put('x', { ollama_name: 'a\0b' }), 400, 'bad_model_name')
  problem(await put('x', { datasets: 'all' }), 400, 'wrong_type')
  problem(await put('x', { hnsw: { width: 3 } }), 400, 'unknown_field')
  problem(await put('x', { indices: [] }), 400, 'unknown_field')
  for (const [method, path] of [['GET', ''], ['DELETE', ''], ['POST', '/activate'], ['POST', '/deactivate']])
    problem(await call(server, method, `/vectors/profile/nobody${path}`), 404, 'profile_not_found')
})

await check('activating loads its model and makes its bucket; another one of the same model unloads nothing', async () => {
  const first = await activate('hr')
  same([first.status, first.json.active, first.json.swap.preloaded, first.json.swap.unloaded], [200, 'hr', true, []], first.text)
  same([await state(), generators()], [['active', 'hr', 'mistral', true], ['mistral:latest']])
  same((await call(server, 'GET', '/storage/buckets')).json.find(bucket => bucket.name === 'profile:hr').reachable, true)
  truth(existsSync(join(data, 'profiles/hr')), 'no folder')
  same((await active()).profile.bucket, 'profile:hr')
  await put('twin', { ollama_name: 'mistral:latest' })
  const calls = ollama.count('/api/generate')
  same((await activate('twin')).json.swap.preloaded, false)
  same([await state(), ollama.count('/api/generate')], [['active', 'twin', 'mistral:latest', true], calls])
  problem(await call(server, 'DELETE', '/vectors/profile/twin'), 409, 'profile_active')
})

await check('another model is unloaded first, and gone before the new one comes', async () => {
  ollama.knobs.unloadMs = 300
  const swap = await activate('law')
  same([swap.json.swap.unloaded, swap.json.swap.preloaded], [['mistral'], true])
  const moves = ollama.calls.filter(c => c.path === '/api/generate').slice(-2).map(c => [c.body.model, c.body.keep_alive])
  same(moves, [['mistral', 0], ['qwen2.5', '5m']])
  same([await state(), generators()], [['active', 'law', 'qwen2.5', true], ['qwen2.5:latest']])
  ollama.knobs.unloadMs = 0
  same((await call(server, 'POST', '/ai/generate', { prompt: 'hi' })).json.model, 'qwen2.5')
})

await check('two profiles with one embedder swap ten times, and the embedder is never unloaded', async () => {
  await embed('it is loaded')
  for (let i = 0; i < 10; i++) {
    same((await activate(i % 2 ? 'law' : 'hr')).status, 200)
    same(ollama.names(), [i % 2 ? 'qwen2.5:latest' : 'mistral:latest', 'nomic-embed-text:latest'].sort())
    same((await embed(`swap ${i}`)).status, 200)
  }
  same(ollama.unloads('nomic-embed-text'), 0)
})

await check("a generator that another profile embeds with stays", async () => {
  ollama.add('both', { kind: 'completion', size: 2 ** 30 })
  await put('one', { ollama_name: 'both' })
  await put('two', { ollama_name: 'phi3', embed_model: 'both' })
  await activate('one')
  await activate('two')
  same([ollama.unloads('both'), generators()], [0, ['both:latest', 'phi3:latest']])
  await call(server, 'DELETE', '/vectors/profile/one')
  await put('two', { ollama_name: 'phi3' })
  await call(server, 'POST', '/admin/unload', { model: 'both' })
})

await check('a swap waits for requests under way, and those that come meanwhile wait for it', async () => {
  await activate('hr')
  ollama.knobs.tokenMs = 100
  const running = call(server, 'POST', '/ai/generate', { prompt: 'a b c d e', stream: true })
  await sleep(150)
  const swap = activate('law')
  await sleep(100)
  same((await active()).state, 'swapping')
  const late = call(server, 'POST', '/ai/generate', { prompt: 'late', model: 'qwen2.5' })
  const unnamed = call(server, 'POST', '/ai/generate', { prompt: 'late' })
  truth((await running).text.includes('"done":true'), 'it was cut')
  same((await swap).status, 200)
  same([(await late).json.text, (await unnamed).json.model], ['qwen2.5 heard: late', 'qwen2.5'])
  ollama.knobs.tokenMs = 0
})

await check('requests that do not end in time leave the slot as it was', async () => {
  ollama.knobs.tokenMs = 250
  const running = call(server, 'POST', '/ai/generate', { prompt: 'word '.repeat(12), model: 'qwen2.5', stream: true })
  await sleep(200)
  problem(await activate('hr'), 503, 'slot_busy')
  same((await state()).slice(0, 3), ['active', 'law', 'qwen2.5'])
  truth((await running).text.includes('"done":true'), 'it was cut')
  ollama.knobs.tokenMs = 0
  same((await activate('hr')).status, 200)
})

await check('fifty activations of five profiles at once end with one active, as the provider has it', async () => {
  const models = ['mistral', 'qwen2.5', 'llama3', 'phi3', 'gemma2']
  for (const [i, model] of models.entries()) await put(`p${i}`, { ollama_name: model })
  ollama.knobs.loadMs = ollama.knobs.unloadMs = 5
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => activate(`p${i * 7 % 5}`)))
  same([...new Set(answers.map(answer => answer.status))], [200])
  const [how, id, model, loaded] = await state()
  same([how, loaded, generators()], ['active', true, [`${model}:latest`]])
  same(models[id.slice(1)], model)
  ollama.knobs.loadMs = ollama.knobs.unloadMs = 0
})

await check('a load that fails is told, and the next activation mends it', async () => {
  await activate('p0')
  ollama.knobs.noMemory = true
  problem(await activate('p1'), 503, 'model_server_failed')
  const now = await active()
  same([now.state, now.active, now.ollama_name], ['failed', null, null])
  truth(now.error.includes('more system memory'), now.error)
  ollama.knobs.noMemory = false
  same((await activate('p1')).status, 200)
  same([await state(), generators()], [['active', 'p1', 'qwen2.5', true], ['qwen2.5:latest']])
  same((await active()).error, null)
})

await check('a load that stands still ends at its time-out', async () => {
  ollama.knobs.stall = true
  problem(await activate('p2'), 504, 'model_server_timeout')
  same((await active()).state, 'failed')
  ollama.knobs.stall = false
  same((await activate('p2')).status, 200)
  same(generators(), ['llama3:latest'])
})

await check('a provider that dies in a swap and comes back: the next activation mends it', async () => {
  ollama.knobs.unloadMs = 500
  const swap = activate('p3')
  await sleep(250)
  await ollama.kill()
  problem(await swap, 503, 'model_server_offline')
  const now = await active()
  same([now.state, now.active, now.models], ['failed', null, null])
  problem(await activate('p3'), 503, 'model_server_offline')
  await ollama.start()
  ollama.knobs.unloadMs = 0
  same((await activate('p3')).status, 200)
  same([await state(), generators()], [['active', 'p3', 'phi3', true], ['phi3:latest']])
})

await check('a server killed in a swap finds what it left, and mends it', async () => {
  ollama.knobs.loadMs = 1500
  const loads = () => ollama.count('/api/generate', body => body.model === 'gemma2' && body.keep_alive)
  const before = loads()
  const swap = activate('p4').catch(() => {})
  while (loads() === before) await sleep(10)
  await server.stop('SIGKILL')
  await swap
  await sleep(1600)
  ollama.knobs.loadMs = 0
  same(generators(), ['gemma2:latest'])
  server = await startServer(data, { env })
  const now = await active()
  same([now.state, now.active], ['failed', null])
  truth(now.models.includes('gemma2:latest'), 'not listed')
  same((await activate('p0')).json.swap.unloaded.map(name => name.replace(':latest', '')), ['gemma2'])
  same(generators(), ['mistral:latest'])
})

await check('a server that is told to stop does not wait for a model that never loads', async () => {
  ollama.knobs.stall = true
  const slow = await startServer(freshDir(), { env: { ...env, LAKEHOUSE_AI_LOAD_TIMEOUT_MS: '300000' } })
  await call(slow, 'PUT', '/vectors/profile/x', { ollama_name: 'gemma2' })
  const waiting = call(slow, 'POST', '/vectors/profile/x/activate').catch(() => {})
  await sleep(300)
  const started = Date.now()
  same(await slow.stop(), { code: 0, signal: null })
  truth(Date.now() - started < 40000, 'it waited')
  await waiting
  ollama.knobs.stall = false
})

await check('whatever happens at random, the slot tells the truth, and the next activation mends it', async () => {
  let seed = Number(process.env.SLOT_SEED ?? Date.now() % 1e9)
  console.log(`     SLOT_SEED=${seed}`)
  const below = n => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n
  const models = ['mistral', 'qwen2.5', 'llama3', 'phi3', 'gemma2']
  Object.assign(ollama.knobs, { loadMs: 15, unloadMs: 15, tokenMs: 3 })
  const events = [
    () => activate(`p${below(5)}`), () => activate(`p${below(5)}`), () => call(server, 'POST', `/vectors/profile/p${below(5)}/deactivate`),
    () => call(server, 'POST', '/ai/generate', { prompt: 'a b c', stream: below(2) === 0 }), () => embed(`text ${below(1000)}`),
    () => call(server, 'POST', '/admin/unload', { model: models[below(5)] }), () => call(server, 'POST', '/ai/generate', { prompt: 'x y', model: models[below(5)] }),
    async () => { ollama.knobs.noMemory = true; await sleep(below(60)); ollama.knobs.noMemory = false },
    async () => { ollama.knobs.stall = true; await sleep(below(100)); ollama.knobs.stall = false },
    async () => { await ollama.kill(); await sleep(below(100)); await ollama.start() },
  ]
  for (let round = 0; round < 8; round++) {
    const pinned = ollama.unloads('nomic-embed-text')
    const one = async () => { for (let i = 0; i < 6; i++) await events[below(9)]().catch(() => {}) }
    await Promise.all([one(), one(), one(), one(), round % 3 ? null : events[9]()])
    truth(!['swapping'].includes((await active()).state), 'it swaps for ever')
    const id = `p${below(5)}`, done = await activate(id)
    same(done.status, 200, done.text)
    same([await state(), generators().filter(name => name !== 'both:latest')], [['active', id, models[id[1]], true], [`${models[id[1]]}:latest`]])
    same(ollama.unloads('nomic-embed-text'), pinned)
  }
  Object.assign(ollama.knobs, { loadMs: 0, unloadMs: 0, tokenMs: 0 })
  await activate('p0')
})

await check('after a restart the active one is active still, and whether its model is loaded is asked', async () => {
  await server.stop()
  await ollama.kill()
  await ollama.start()
  server = await startServer(data, { env })
  same(await state(), ['active', 'p0', 'mistral', false])
  same((await activate('p0')).json.swap.preloaded, true)
  same(await state(), ['active', 'p0', 'mistral', true])
})

await check('what somebody else loaded of our models makes room too', async () => {
  await call(server, 'POST', '/admin/preload', { model: 'gemma2' })
  await call(server, 'POST', '/admin/preload', { model: 'both' }) // nobody's
  same((await activate('p1')).json.swap.unloaded.map(name => name.replace(':latest', '')).sort(), ['gemma2', 'mistral'])
  same(generators(), ['both:latest', 'qwen2.5:latest'])
})

await check("a load of somebody else's that holds the list up is waited for", async () => {
  ollama.knobs.loadMs = 3000
  ollama.knobs.listWaits = true
  const load = call(server, 'POST', '/admin/preload', { model: 'llama3' })
  await sleep(100)
  ollama.knobs.loadMs = 0
  const started = Date.now(), told = await active()
  same(told.models, null)
  truth(Date.now() - started < 2800, 'it was waited for')
  same((await activate('p1')).status, 200)
  same([(await load).status, generators()], [200, ['both:latest', 'qwen2.5:latest']])
  ollama.knobs.listWaits = false
})

await check('deactivating empties the slot, and does nothing to another holder', async () => {
  const other = (await call(server, 'POST', '/vectors/profile/p0/deactivate')).json
  same([other.was_active, other.active], [false, 'p1'])
  const done = (await call(server, 'POST', '/vectors/profile/p1/deactivate')).json
  same([done.was_active, done.state, done.swap.unloaded], [true, 'idle', ['qwen2.5']])
  same([await state(), generators()], [['idle', null, null, null], ['both:latest']])
  same((await call(server, 'DELETE', '/vectors/profile/p1')).status, 200)
  problem(await call(server, 'GET', '/vectors/profile/p1'), 404, 'profile_not_found')
  same(JSON.parse(readFileSync(join(data, 'state/slot.json'))).held, [])
})

await check('a search stays in the scope of its profile, in both directions and in its filter', async () => {
  for (const name of ['resumes', 'laws']) {
    const rows = Array.from({ length: 40 }, (_, i) => JSON.stringify({ id: i, text: `${name} number${i}` }))
    await call(server, 'POST', `/ingest/file?dataset=${name}&format=ndjson`, rows.join('\n'))
    same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: name, dataset: name, text_column: 'text' })).status, 201)
  }
  await put('hr', { datasets: ['resumes'], hnsw: { ef_search: 64 } })
  await put('law', { ollama_name: 'qwen2.5', indexes: ['laws'] })
  const search = (id, index, more) => call(server, 'POST', `/vectors/profile/${id}/search`, { index, query: 'number7', k: 3, ...more })
  same((await search('hr', 'resumes')).json.hits[0].doc_id, '7')
  same((await search('law', 'laws')).json.hits[0].doc_id, '7')
  problem(await search('hr', 'laws'), 403, 'out_of_scope')
  problem(await search('law', 'resumes'), 403, 'out_of_scope')
  same((await search('hr', 'resumes', { filter: 'id < 3' })).json.hits.length, 3)
  problem(await search('hr', 'resumes', { filter: 'id IN (SELECT id FROM laws)' }), 403, 'out_of_scope')
  problem(await search('hr', 'resumes', { filter: 'id IN (SELECT id FROM "main"."LAWS")' }), 403, 'out_of_scope')
  problem(await search('hr', 'nothing'), 404, 'index_not_found')
  problem(await search('nobody', 'laws'), 404, 'profile_not_found')
  await put('wide', {})
  same([(await search('wide', 'laws')).status, (await search('wide', 'resumes')).status], [200, 200])
})

await check("a profile embeds with its own model and searches its own backend; another's bucket is closed to it", async () => {
  const search = (id, more) => call(server, 'POST', `/vectors/profile/${id}/search`, { index: 'laws', query: 'number7', ...more })
  await put('other', { embed_model: 'builtin' })
  problem(await search('other'), 422, 'wrong_model')
  await put('other', { vector_backend: 'lance' })
  problem(await search('other'), 422, 'wrong_backend')
  await activate('hr')
  same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'private', dataset: 'resumes', text_column: 'text', bucket: 'profile:hr' })).status, 201)
  same((await search('hr', { index: 'private' })).status, 200)
  problem(await search('wide', { index: 'private' }), 403, 'out_of_scope')
})
await server.stop()

await check('without a model server profiles are kept and searched, and cannot be activated', async () => {
  const plain = await startServer(data)
  problem(await call(plain, 'POST', '/vectors/profile/law/activate'), 422, 'no_model_server')
  same((await call(plain, 'POST', '/vectors/profile/law/search', { index: 'laws', query: 'number7', mode: 'text' })).json.hits[0].doc_id, '7')
  same((await call(plain, 'POST', '/vectors/profile/hr/deactivate')).json.was_active, true)
  await plain.stop()
})
