// Models of a provider: Ollama and OpenAI's API, against a stand-in for both that loads slowly, refuses, dies and lies.
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommands } from '../kit/documents.mjs'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'
import { startOllama, vectorOf } from '../kit/ollama.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const ollama = await startOllama()
const data = freshDir(), bin = freshDir()
const env = { LAKEHOUSE_AI_PROVIDER: 'ollama', LAKEHOUSE_AI_URL: ollama.url, LAKEHOUSE_AI_EMBED_MODEL: 'nomic-embed-text',
  LAKEHOUSE_AI_GENERATE_MODEL: 'mistral', LAKEHOUSE_AI_MODEL_CHECK_MS: '200', LAKEHOUSE_AI_RETRY_MS: '3000',
  LAKEHOUSE_AI_UNLOAD_MS: '2000', PATH: `${bin}:${process.env.PATH}` }
ollama.showMemoryIn(join(bin, 'memory'))
writeFileSync(join(bin, 'nvidia-smi'), `#!/bin/sh\nread -r line < "${join(bin, 'memory')}"\necho "$line"\n`)
chmodSync(join(bin, 'nvidia-smi'), 0o755)
let server = await startServer(data, { env })

const embed = (texts, more = {}) => call(server, 'POST', '/ai/embed', { texts, ...more })
const near = (a, b) => a.length === b.length && a.every((value, i) => Math.abs(value - b[i]) < 1e-6)
const notes = Array.from({ length: 300 }, (_, i) => JSON.stringify({ id: i, text: `${['river', 'engine', 'garden', 'violin'][i % 4]} number${i}` }))
const ingest = (lines, mode) => call(server, 'POST', `/ingest/file?dataset=notes&format=ndjson&mode=${mode}`, lines.join('\n'))
const search = (query, more = {}) => call(server, 'POST', '/vectors/search', { index: 'notes', query, k: 3, ...more })
const embeds = () => ollama.count('/api/embed', body => body.input?.length > 0)

await check('texts become the vectors of the model, in order, and the same text is asked for once', async () => {
  const answer = (await embed(['one river', '', 'two engines'])).json
  same([answer.model, answer.dimensions], ['nomic-embed-text', 64])
  truth(near(answer.embeddings[0], vectorOf('one river', 64)) && near(answer.embeddings[2], vectorOf('two engines', 64)), 'other vectors')
  truth(answer.embeddings[1].every(value => value === 0), 'an empty text is no zeros')
  const before = embeds()
  await embed(['two engines', 'one river'])
  same(embeds(), before)
  truth(ollama.calls.filter(c => c.path === '/api/embed').every(c => c.body.truncate === false), 'a text may be cut')
})

await check('many texts go in batches of 64, at most four at a time', async () => {
  ollama.knobs.embedMs = 20
  ollama.peak = 0
  const before = embeds(), texts = Array.from({ length: 200 }, (_, i) => `text ${i}`)
  const all = await Promise.all([0, 1, 2, 3, 4, 5].map(n => embed(texts.map(text => `${text} of ${n}`))))
  truth(all.every(answer => answer.status === 200), 'one failed')
  same(embeds() - before, 24)
  truth(ollama.peak <= 4, `${ollama.peak} at a time`)
  ollama.knobs.embedMs = 0
})

await check('the text that is refused is named, however many come with it', async () => {
  ollama.knobs.bad = 'poison'
  const texts = Array.from({ length: 100 }, (_, i) => i === 77 ? 'a poison' : `fine ${i}`)
  truth(problem(await embed(texts), 422, 'model_refused').includes('text 77'), 'not named')
  truth(problem(await embed(['x', 'y'.repeat(9000)]), 422, 'model_refused').includes('text 1'), 'too long for the model')
  truth(problem(await embed(['x', 'y'.repeat(40000)]), 422, 'text_too_long').includes('text 1'), 'too long for us')
  ollama.knobs.bad = null
})

await check('what passes is tried again; what lasts is 503 with Retry-After', async () => {
  ollama.knobs.refusals = [{ path: '/api/embed', status: 503, times: 1 }, { path: '/api/embed', drop: true, times: 1 }]
  same((await embed(['tried again'])).status, 200)
  ollama.knobs.refusals = [{ path: '/api/embed', status: 500, error: 'runner died', times: 99 }]
  const answer = await embed(['fails for long'])
  truth(problem(answer, 503, 'model_server_failed').includes('runner died'), answer.text)
  truth(answer.headers.get('retry-after'), 'no Retry-After')
  ollama.knobs.refusals = []
})

await check('vectors that are not finite or too few are refused', async () => {
  ollama.knobs.nan = true
  problem(await embed(['not finite']), 503, 'model_server_failed')
  ollama.knobs.nan = false
  ollama.knobs.wrongCount = true
  problem(await embed(['too', 'few']), 503, 'model_server_failed')
  ollama.knobs.wrongCount = false
})

await check('a model that is not there is 404, one that does not embed is 422', async () => {
  problem(await embed(['x'], { model: 'nobody' }), 404, 'model_not_found')
  problem(await embed(['x'], { model: 'no body' }), 400, 'bad_model_name')
  problem(await embed(['x'], { model: 'mistral' }), 422, 'model_refused')
  same((await embed(['x'], { model: 'builtin' })).json.dimensions, 384)
})

await check('an index is built and searched by the configured model', async () => {
  await ingest(notes, 'create')
  const made = await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })
  same([made.status, made.json.model, made.json.dimensions, made.json.rows], [201, 'nomic-embed-text', 64, 300], made.text)
  same(made.json.model_digest, ollama.models.get('nomic-embed-text:latest').digest)
  const found = await search('violin number7')
  same([found.status, found.json.hits[0].doc_id], [200, '7'], found.text)
  truth(Math.abs(found.json.hits[0].score - 1) < 1e-4, 'not the same vector')
})

await check('a refresh embeds what is new alone; a refused document is named, and the index stays as it was', async () => {
  const before = embeds()
  await ingest([JSON.stringify({ id: 900, text: 'a submarine' })], 'append')
  const done = await call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true')
  same([done.status, done.json.embedded, done.json.reused], [200, 1, 300], done.text)
  same(embeds(), before + 1)
  ollama.knobs.bad = 'poison'
  await ingest([JSON.stringify({ id: 901, text: 'fine' }), JSON.stringify({ id: 902, text: 'poison' })], 'append')
  const failed = await call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true')
  truth(problem(failed, 422, 'model_refused').includes("document '902'"), failed.text)
  ollama.knobs.bad = null
  same((await search('submarine')).json.hits[0].doc_id, '900')
})

await check('a model that was replaced under its name is 422 for queries and refreshes, until it is back', async () => {
  const model = ollama.models.get('nomic-embed-text:latest'), digest = model.digest
  model.digest = 'f'.repeat(64)
  await sleep(300)
  problem(await search('a river'), 422, 'wrong_model')
  problem(await call(server, 'POST', '/vectors/indexes/notes/refresh?wait=true'), 422, 'wrong_model')
  same((await search('river', { mode: 'text' })).status, 200)
  model.digest = digest
  await sleep(300)
  same((await search('a river')).status, 200)
})

await check('while the provider is down, words are 503 and all else goes on; /ready tells', async () => {
  await ollama.kill()
  const answer = await search('never asked before')
  truth(problem(answer, 503, 'model_server_offline').includes('out of reach'), answer.text)
  truth(answer.headers.get('retry-after'), 'no Retry-After')
  same((await search('river', { mode: 'text' })).status, 200)
  same((await call(server, 'POST', '/vectors/search', { index: 'notes', vector: vectorOf('violin number7', 64), k: 1 })).json.hits[0].doc_id, '7')
  const ready = await call(server, 'GET', '/ready')
  same([ready.status, ready.json.ready, ready.json.parts.storage], [200, true, 'ready'])
  truth(ready.json.parts.embedder.includes('out of reach'), ready.text)
  same((await call(server, 'GET', '/admin/vram')).json.source, { gpu: 'nvidia-smi', models: 'none' })
  await ollama.start()
  same((await search('never asked before')).status, 200)
  same((await call(server, 'GET', '/ready')).json.parts.embedder, 'ready')
})

await check('a server starts, and searches by vectors, while its provider is down', async () => {
  await server.stop()
  await ollama.kill()
  server = await startServer(data, { env })
  same((await call(server, 'POST', '/vectors/search', { index: 'notes', vector: vectorOf('violin number7', 64), k: 1 })).json.hits[0].doc_id, '7')
  await ollama.start()
  same((await search('violin number7')).json.hits[0].doc_id, '7')
})

await check('a build that waits for a dead provider ends when it is cancelled', async () => {
  await embed(['dimensions are known'])
  ollama.knobs.refusals = [{ path: '/api/embed', status: 503, times: 1e9 }]
  const started = await call(server, 'POST', '/vectors/indexes', { index: 'other', dataset: 'notes', text_column: 'text' })
  same(started.status, 202, started.text)
  await sleep(300)
  same((await call(server, 'DELETE', `/jobs/${started.json.job}`)).status, 202)
  for (let i = 0; i < 50 && (await call(server, 'GET', `/jobs/${started.json.job}`)).json.state === 'running'; i++) await sleep(50)
  same((await call(server, 'GET', `/jobs/${started.json.job}`)).json.state, 'cancelled')
  ollama.knobs.refusals = []
  problem(await call(server, 'GET', '/vectors/indexes/other'), 404, 'index_not_found')
})

await check('a server in front of Ollama that lists no models: the name stands for the digest', async () => {
  ollama.knobs.refusals = [{ path: '/api/tags', status: 404, times: 1e9 }]
  await sleep(300)
  same((await embed(['behind a proxy'])).status, 200)
  ollama.knobs.refusals = []
  await sleep(300)
})

await check('a prompt is answered whole, and in pieces as they come', async () => {
  const whole = await call(server, 'POST', '/ai/generate', { prompt: 'hello there', temperature: 0, max_tokens: 100 })
  same([whole.status, whole.json.model, whole.json.text, whole.json.done_reason], [200, 'mistral', 'mistral heard: hello there', 'stop'], whole.text)
  same(ollama.calls.at(-1).body.options, { temperature: 0, num_predict: 100 })
  same((await call(server, 'POST', '/ai/generate', { prompt: 'a b c d', max_tokens: 2 })).json.done_reason, 'length')
  const lines = (await call(server, 'POST', '/ai/generate', { prompt: 'hello there', model: 'qwen2.5', stream: true })).text.trim().split('\n').map(line => JSON.parse(line))
  same(lines.map(line => line.text).join(''), 'qwen2.5 heard: hello there')
  truth(lines.length > 3 && lines.at(-1).done && lines.slice(0, -1).every(line => !line.done), 'not in pieces')
  problem(await call(server, 'POST', '/ai/generate', { prompt: 'x', model: 'nobody', stream: true }), 404, 'model_not_found')
  problem(await call(server, 'POST', '/ai/generate', { prompt: 'x', num_ctx: 5 }), 400, 'unknown_field')
})

await check("OpenAI's client shapes: embeddings (base64 too), models, a chat and its stream", async () => {
  const plain = (await call(server, 'POST', '/v1/embeddings', { input: 'one river', model: 'nomic-embed-text' })).json
  const packed = (await call(server, 'POST', '/v1/embeddings', { input: ['one river'], encoding_format: 'base64' })).json
  const floats = new Float32Array(new Uint8Array(Buffer.from(packed.data[0].embedding, 'base64')).buffer)
  truth(near([...floats], plain.data[0].embedding) && near(plain.data[0].embedding, vectorOf('one river', 64)), 'other vectors')
  same((await call(server, 'GET', '/v1/models')).json.data.map(model => model.id), ['builtin', 'nomic-embed-text:latest', 'mistral:latest', 'qwen2.5:latest'])
  const messages = [{ role: 'user', content: 'hello you' }]
  const chat = (await call(server, 'POST', '/v1/chat/completions', { messages, max_completion_tokens: 50 })).json
  same([chat.object, chat.choices[0].message.content, chat.choices[0].finish_reason], ['chat.completion', 'mistral heard: hello you', 'stop'])
  const stream = await call(server, 'POST', '/v1/chat/completions', { messages, stream: true, stream_options: { include_usage: true } })
  same(stream.headers.get('content-type'), 'text/event-stream')
  const events = stream.text.trim().split('\n\n').map(event => event.replace(/^data: /, ''))
  same(events.at(-1), '[DONE]')
  const chunks = events.slice(0, -1).map(event => JSON.parse(event))
  same(chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join(''), 'mistral heard: hello you')
  truth(chunks.at(-1).usage.total_tokens > 0 && chunks.at(-2).choices[0].finish_reason === 'stop', 'no end')
  problem(await call(server, 'POST', '/v1/chat/completions', { messages: [{ role: 'user' }] }), 400, 'wrong_type')
})

await check('a provider that dies in the middle of an answer is told in the stream, which is cut', async () => {
  ollama.knobs.tokenMs = 50
  const response = await fetch(`${server.url}/ai/generate`, { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'word '.repeat(100), stream: true }) })
  let text = '', cut = false
  setTimeout(() => ollama.kill(), 500)
  try { for await (const part of response.body) text += Buffer.from(part) } catch { cut = true }
  const last = JSON.parse(text.trim().split('\n').at(-1))
  same([cut, last.error?.code], [true, 'model_server_offline'], text)
  ollama.knobs.tokenMs = 0
  await ollama.start()
})

await check('a client that hangs up ends what is generated for it', async () => {
  ollama.knobs.tokenMs = 100
  const gone = new AbortController()
  const pending = fetch(`${server.url}/ai/generate`, { method: 'POST', signal: gone.signal, headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'word '.repeat(200), stream: true }) }).then(response => response.text()).catch(() => {})
  await sleep(400)
  gone.abort()
  await pending
  for (let i = 0; i < 40 && ollama.active > 0; i++) await sleep(50)
  same(ollama.active, 0)
  ollama.knobs.tokenMs = 0
})

await check('an unload is answered when the model has left and its memory is back', async () => {
  await call(server, 'POST', '/admin/preload', { model: 'mistral' })
  const before = (await call(server, 'GET', '/admin/vram')).json
  same(before.source, { gpu: 'nvidia-smi', models: 'ollama' })
  truth(before.models.some(model => model.name === 'mistral:latest' && model.vram_bytes === 5 * 2 ** 30 && model.expires_at), 'not listed')
  ollama.knobs.unloadMs = 300
  ollama.knobs.memoryMs = 600
  const answer = (await call(server, 'POST', '/admin/unload', { model: 'mistral' })).json
  same(answer, { model: 'mistral', unloaded: true, freed_bytes: 5 * 2 ** 30 })
  const after = (await call(server, 'GET', '/admin/vram')).json
  same(before.gpus[0].used_bytes - after.gpus[0].used_bytes, 5 * 2 ** 30)
  truth(!after.models.some(model => model.name === 'mistral:latest'), 'still listed')
  same((await call(server, 'POST', '/admin/unload', { model: 'mistral' })).json.unloaded, false)
  problem(await call(server, 'POST', '/admin/unload', { model: 'nobody' }), 404, 'model_not_found')
  problem(await call(server, 'POST', '/admin/preload', { model: 'nobody' }), 404, 'model_not_found')
  same((await call(server, 'POST', '/admin/preload', { model: 'nomic-embed-text' })).status, 200)
  ollama.knobs.unloadMs = 99999
  problem(await call(server, 'POST', '/admin/unload', { model: 'nomic-embed-text' }), 504, 'still_loaded')
  ollama.knobs.unloadMs = ollama.knobs.memoryMs = 0
})

await check('/metrics counts texts, calls and failures, and shows the memory', async () => {
  const text = (await call(server, 'GET', '/metrics')).text
  const value = name => Number(new RegExp(`^lakehouse_${name} (\\S+)$`, 'm').exec(text)?.[1])
  truth(value('texts_embedded_total') > 0 && value('texts_cached_total') > 0 && value('generated_total') > 3, text)
  truth(value('model_calls_total') > value('model_failures_total') && value('model_failures_total') > 0, text)
  same(value('gpu_bytes{gpu="0",kind="total"}'.replace(/[{}]/g, '\\$&')), 24 * 2 ** 30)
})

await check('nvidia-smi that hangs costs two seconds and nothing else', async () => {
  writeFileSync(join(bin, 'nvidia-smi'), '#!/bin/sh\nexec sleep 60\n')
  const started = Date.now()
  same((await call(server, 'GET', '/admin/vram')).json.source.gpu, 'none')
  truth(Date.now() - started < 4000, 'too long')
  const again = Date.now()
  same((await call(server, 'GET', '/admin/vram')).json.source.gpu, 'none')
  truth(Date.now() - again < 1500, 'it is asked again at once')
})
await check('the commands of the page on models run', async () => {
  truth(await runCommands(['docs/models.md'], server) >= 4, 'too few commands were found')
})
await server.stop()

await check("a server of OpenAI's API embeds and chats with a key from a file, which is never shown", async () => {
  const key = 'sk-very-secret-123456', file = join(bin, 'key')
  writeFileSync(file, `${key}\n`)
  ollama.knobs.apiKey = key
  const openai = await startServer(freshDir(), { env: { ...env, LAKEHOUSE_AI_PROVIDER: 'openai', LAKEHOUSE_AI_URL: `${ollama.url}/v1/`, LAKEHOUSE_AI_API_KEY_REF: `file:${file}` } })
  const answer = await call(openai, 'POST', '/ai/embed', { texts: ['one river', 'two engines'] })
  same([answer.status, answer.json.dimensions], [200, 64], answer.text)
  truth(near(answer.json.embeddings[1], vectorOf('two engines', 64)), 'out of order')
  same((await call(openai, 'POST', '/ai/generate', { prompt: 'hi', model: 'mistral' })).json.text, 'mistral heard: hi')
  same((await call(openai, 'POST', '/ai/generate', { prompt: 'hi', stream: true })).text.trim().split('\n').map(line => JSON.parse(line).text).join(''), 'mistral heard: hi')
  problem(await call(openai, 'POST', '/admin/unload', { model: 'mistral' }), 422, 'not_supported')
  writeFileSync(file, 'sk-wrong-key-000')
  const refused = await call(openai, 'POST', '/ai/embed', { texts: ['not cached'] })
  problem(refused, 503, 'model_server_denied')
  await openai.stop()
  truth(!/sk-/.test(refused.text + openai.log + openai.out), 'the key is shown')
  ollama.knobs.apiKey = null
})

await check('without a provider a generator is 422, and an index of another model answers vectors alone', async () => {
  const plain = await startServer(data)
  problem(await call(plain, 'POST', '/ai/generate', { prompt: 'hi' }), 422, 'no_model_server')
  problem(await call(plain, 'POST', '/vectors/search', { index: 'notes', query: 'river' }), 422, 'wrong_model')
  problem(await call(plain, 'POST', '/vectors/indexes/notes/refresh?wait=true'), 422, 'wrong_model')
  problem(await call(plain, 'POST', '/ai/embed', { texts: ['x'], model: 'nomic-embed-text' }), 404, 'model_not_found')
  same((await call(plain, 'POST', '/vectors/search', { index: 'notes', vector: vectorOf('violin number7', 64), k: 1 })).json.hits[0].doc_id, '7')
  await plain.stop()
})
