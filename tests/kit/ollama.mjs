// A stand-in for a model server: Ollama's API as its source has it (0.33), and OpenAI's shapes. There is no model in it,
// but all that a client must get right: models that load slowly, stand still, or leave memory late; batches that fail for
// one input; queues that are full; a server that dies half-way. It records every call.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { atFinish } from './server.mjs'

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const GiB = 2 ** 30
const tagged = name => name.includes(':') ? name : `${name}:latest`
const digestOf = text => createHash('sha256').update(text).digest('hex')

// The same text gives the same vector of length 1: its words, each thrown onto a few places.
export function vectorOf(text, dimensions, salt = '') {
  const vector = new Array(dimensions).fill(0)
  for (const word of text.toLowerCase().split(/[^a-z0-9]+/).filter(Boolean)) {
    const hash = createHash('sha256').update(salt + word).digest()
    for (let i = 0; i < 8; i++) vector[hash.readUInt16LE(2 * i) % dimensions] += hash[16 + i] & 1 ? 1 : -1
  }
  const length = Math.hypot(...vector) || 1
  return vector.map(value => value / length)
}

class Refusal extends Error {
  constructor(status, text) { super(text); this.status = status }
}

export class Ollama {
  models = new Map()   // by name with its tag
  loaded = new Map()   // name -> {expires, used: requests under way, leaving}
  loading = Promise.resolve()
  calls = []           // {at, method, path, body, status}
  knobs = { loadMs: 0, stall: false, listWaits: false /* /api/ps, for a load under way */, unloadMs: 0, memoryMs: 0, embedMs: 0, tokenMs: 0, noMemory: false,
    refusals: [],      // {path, status, error, drop, times}: what the next requests get instead
    queueMax: 512, apiKey: null, version: '0.33.0', bad: null /* inputs that hold it fail */, nan: false, wrongCount: false }
  gpu = { total: 24 * GiB, used: 1 * GiB, file: null }
  active = 0; peak = 0; sockets = new Set(); port = 0

  constructor() {
    this.add('nomic-embed-text', { kind: 'embedding', dimensions: 64, context: 2048, size: GiB })
    this.add('mistral', { kind: 'completion', size: 5 * GiB })
    this.add('qwen2.5', { kind: 'completion', size: 6 * GiB })
  }

  add(name, model) {
    this.models.set(tagged(name), { context: 4096, digest: digestOf(name), salt: '', ...model })
    return this
  }

  async start() {
    this.server = createServer((request, response) => this.#serve(request, response))
    this.server.on('connection', socket => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
    await new Promise((resolve, reject) => this.server.on('error', reject).listen(this.port, '127.0.0.1', resolve))
    this.port = this.server.address().port
    this.url = `http://127.0.0.1:${this.port}`
    return this
  }

  // As a kill does it: connections break, what was loaded is gone.
  async kill() {
    for (const socket of this.sockets) socket.destroy()
    await new Promise(resolve => this.server.close(resolve))
    this.loaded.clear()
    this.loading = Promise.resolve()
    this.gpu.used = GiB
    this.#showMemory()
  }

  count(path, test = () => true) { return this.calls.filter(call => call.path === path && test(call.body ?? {})).length }
  unloads(name) { return this.count('/api/generate', body => body.keep_alive === 0 && tagged(body.model) === tagged(name)) }
  names() { return [...this.loaded.keys()].sort() }

  // What nvidia-smi would read, for a script in its place.
  showMemoryIn(file) { this.gpu.file = file; this.#showMemory() }
  #showMemory() {
    if (this.gpu.file) writeFileSync(this.gpu.file, `0, Stand-in GPU, ${this.gpu.total / 2 ** 20}, ${this.gpu.used / 2 ** 20}, ${(this.gpu.total - this.gpu.used) / 2 ** 20}\n`)
  }
  #use(bytes) { this.gpu.used += bytes; this.#showMemory() }

  #model(name) {
    if (!name) throw new Refusal(400, 'model is required')
    const model = this.models.get(tagged(name))
    if (!model) throw new Refusal(404, `model '${name}' not found`)
    return model
  }

  // One load at a time. A model on its way out that is asked for again stays.
  async #load(name, keepAlive) {
    const model = this.#model(name), key = tagged(name)
    const before = this.loading
    let free
    this.loading = new Promise(resolve => { free = resolve })
    await before
    try {
      if (!this.loaded.has(key)) {
        await sleep(this.knobs.loadMs)
        while (this.knobs.stall && this.server.listening) await sleep(20)
        if (this.knobs.noMemory) throw new Refusal(500, 'model requires more system memory than is available')
        this.loaded.set(key, { used: 0, expires: 0 })
        this.#use(model.size)
      }
      const runner = this.loaded.get(key)
      runner.leaving = false
      if (keepAlive !== undefined || !runner.expires) runner.expires = expiryOf(keepAlive ?? '5m')
      return runner
    } finally { free() }
  }

  // Answers at once; the runner leaves when its requests ended, and its memory later still.
  #unload(name) {
    const key = tagged(name), runner = this.loaded.get(key), size = this.#model(name).size
    if (!runner) return
    runner.leaving = true
    runner.expires = Date.now()
    const leave = async () => {
      await sleep(this.knobs.unloadMs)
      while (runner.used > 0) await sleep(10)
      if (!runner.leaving || this.loaded.get(key) !== runner) return
      this.loaded.delete(key)
      await sleep(this.knobs.memoryMs)
      this.#use(-size)
    }
    leave()
  }

  async #with(name, keepAlive, run) {
    const runner = await this.#load(name, keepAlive)
    runner.used++
    try { return await run() } finally { runner.used-- }
  }

  async #serve(request, response) {
    const call = { at: Date.now(), method: request.method, path: new URL(request.url, 'http://x').pathname }
    this.calls.push(call)
    this.peak = Math.max(this.peak, ++this.active)
    try {
      let text = ''
      for await (const part of request) text += part
      call.authorization = request.headers.authorization
      if (text) call.body = JSON.parse(text)
      const refusal = this.knobs.refusals.find(entry => (!entry.path || entry.path === call.path) && entry.times-- > 0)
      if (refusal?.drop) return request.socket.destroy()
      if (refusal) throw new Refusal(refusal.status, refusal.error ?? 'refused')
      if (this.active > this.knobs.queueMax) throw new Refusal(503, 'server busy, please try again.  maximum pending requests exceeded')
      if (this.knobs.apiKey && call.authorization !== `Bearer ${this.knobs.apiKey}`) throw new Refusal(401, `wrong key ${call.authorization}`)
      const answer = await this.#answer(call, response)
      if (answer) json(response, 200, answer)
      call.status = response.statusCode
    } catch (error) {
      call.status = error.status ?? 500
      if (response.headersSent) response.end(`${JSON.stringify({ error: error.message })}\n`)
      else json(response, call.status, call.path.startsWith('/v1/')
        ? { error: { message: error.message, type: 'api_error', param: null, code: null } } : { error: error.message })
    } finally { this.active-- }
  }

  async #answer({ method, path, body = {} }, response) {
    switch (`${method} ${path}`) {
      case 'GET /api/version': return { version: this.knobs.version }
      case 'GET /api/tags': return { models: [...this.models].map(([name, model]) => this.#tag(name, model)) }
      case 'POST /api/show': return this.#show(body.model)
      case 'GET /api/ps': if (this.knobs.listWaits) await this.loading; return { models: this.names().map(name => this.#runner(name)) }
      case 'POST /api/embed': return this.#embed(body)
      case 'POST /api/generate': return this.#generate(body, response, text => ({ response: text }))
      case 'POST /api/chat': return this.#generate({ ...body, prompt: body.messages?.map(m => m.content).join(' ') }, response,
        text => ({ message: { role: 'assistant', content: text } }))
      case 'GET /v1/models': return { object: 'list', data: [...this.models.keys()].map(id => ({ id: id.replace(/:latest$/, ''), object: 'model', created: 1, owned_by: 'library' })) }
      case 'POST /v1/embeddings': return this.#openaiEmbed(body)
      case 'POST /v1/chat/completions': return this.#openaiChat(body, response)
    }
    throw new Refusal(404, '404 page not found')
  }

  #tag(name, model) {
    return { name, model: name, modified_at: '2026-01-01T00:00:00Z', size: model.size, digest: model.digest,
      details: { family: 'test' }, capabilities: [model.kind] }
  }

  #show(name) {
    const model = this.#model(name)
    return { details: { family: 'test' }, capabilities: [model.kind], model_info: { 'general.architecture': 'test',
      'test.context_length': model.context, 'test.embedding_length': model.dimensions } }
  }

  #runner(name) {
    const model = this.models.get(name)
    return { name, model: name, size: model.size, digest: model.digest, details: { family: 'test' },
      expires_at: new Date(this.loaded.get(name).expires).toISOString(), size_vram: model.size, context_length: model.context }
  }

  #vectors(name, inputs, truncate) {
    const model = this.#model(name)
    if (model.kind !== 'embedding') throw new Refusal(400, `"${name}" does not support embed`)
    for (const input of inputs) {
      if (typeof input !== 'string') throw new Refusal(400, 'invalid input type')
      if (input.length / 4 > model.context && truncate === false) throw new Refusal(400, 'the input length exceeds the context length')
      if (this.knobs.bad && input.includes(this.knobs.bad)) throw new Refusal(400, 'llama runner: failed to encode response')
    }
    const vectors = inputs.map(input => vectorOf(input, model.dimensions, model.salt))
    if (this.knobs.wrongCount) vectors.pop()
    return this.knobs.nan ? vectors.map(vector => [null, ...vector.slice(1)]) : vectors
  }

  async #embed({ model, input = [], truncate, keep_alive }) {
    const inputs = Array.isArray(input) ? input : input === '' ? [] : [input]
    return this.#with(model, keep_alive, async () => {
      await sleep(this.knobs.embedMs)
      return { model, embeddings: this.#vectors(model, inputs, truncate) }
    })
  }

  async #openaiEmbed({ model, input }) {
    const inputs = Array.isArray(input) ? input : [input]
    if (!inputs.length) throw new Refusal(400, 'invalid input')
    return this.#with(model, undefined, async () => {
      await sleep(this.knobs.embedMs)
      return { object: 'list', model, usage: { prompt_tokens: 1, total_tokens: 1 },
        data: this.#vectors(model, inputs, false).map((embedding, index) => ({ object: 'embedding', index, embedding })).reverse() }
    })
  }

  async #generate({ model, prompt, keep_alive, stream, options = {} }, response, shape) {
    const base = done => ({ model, created_at: new Date().toISOString(), done })
    if (!prompt && keep_alive === 0) { this.#model(model); this.#unload(model); return { ...base(true), ...shape(''), done_reason: 'unload' } }
    if (this.#model(model).kind !== 'completion') throw new Refusal(400, `"${model}" does not support generate`)
    if (!prompt) { await this.#load(model, keep_alive); return { ...base(true), ...shape(''), done_reason: 'load' } }
    return this.#with(model, keep_alive, async () => {
      const words = replyTo(model, prompt, options)
      const end = { ...base(true), done_reason: words.cut ? 'length' : 'stop', prompt_eval_count: prompt.split(' ').length, eval_count: words.length, total_duration: 1 }
      if (stream === false) { await sleep(this.knobs.tokenMs * words.length); return { ...end, ...shape(words.join('')) } }
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      for (const word of words) {
        response.write(`${JSON.stringify({ ...base(false), ...shape(word) })}\n`)
        await sleep(this.knobs.tokenMs)
        if (response.destroyed) return
      }
      response.end(`${JSON.stringify({ ...end, ...shape('') })}\n`)
    })
  }

  async #openaiChat({ model, messages, stream, max_tokens }, response) {
    if (this.#model(model).kind !== 'completion') throw new Refusal(400, `"${model}" does not support chat`)
    return this.#with(model, undefined, async () => {
      const words = replyTo(model, messages.map(m => m.content).join(' '), { num_predict: max_tokens })
      const usage = { prompt_tokens: 3, completion_tokens: words.length, total_tokens: 3 + words.length }
      const finish = words.cut ? 'length' : 'stop', head = { id: 'chatcmpl-1', created: 1, model }
      if (!stream) return { ...head, object: 'chat.completion', usage, choices: [{ index: 0, finish_reason: finish, message: { role: 'assistant', content: words.join('') } }] }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const send = (delta, reason = null, more = {}) => response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }], ...more })}\n\n`)
      for (const word of words) { send({ content: word }); await sleep(this.knobs.tokenMs); if (response.destroyed) return }
      send({}, finish)
      response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [], usage })}\n\n`)
      response.end('data: [DONE]\n\n')
    })
  }
}

const replyTo = (model, prompt, { num_predict: most }) => {
  const words = `${model.split(':')[0]} heard: ${prompt}`.split(/(?<= )/)
  const some = most ? words.slice(0, most) : words
  some.cut = some.length < words.length
  return some
}

function expiryOf(keepAlive) {
  if (typeof keepAlive === 'number') return keepAlive < 0 ? Date.UTC(2318, 0) : Date.now() + keepAlive * 1000
  const match = /^(-?)(\d+)(ms|s|m|h)$/.exec(keepAlive)
  if (!match) throw new Refusal(400, `time: invalid duration "${keepAlive}"`)
  return match[1] ? Date.UTC(2318, 0) : Date.now() + match[2] * { ms: 1, s: 1000, m: 60000, h: 3600000 }[match[3]]
}

function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' })
  response.end(JSON.stringify(body))
}

export async function startOllama() {
  const ollama = await new Ollama().start()
  atFinish(() => { for (const socket of ollama.sockets) socket.destroy(); ollama.server.close() })
  return ollama
}
