// Numbers that depend on the seed alone (mulberry32), and requests that tell a dead server from a
// wrong answer.
import { truth } from '../kit/server.mjs'

export class Random {
  constructor(seed) { this.state = seed >>> 0 }

  below(limit) {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 4294967296 * limit)
  }
}

// What a client was doing when the server went away: it may have happened or not.
export class Interrupted extends Error {}

// {status, bytes, json}; Interrupted when the server was killed meanwhile.
export async function send(alive, method, path, body, headers = {}) {
  try {
    const response = await fetch(alive.server.url + path, { method, headers, body, duplex: 'half' })
    const bytes = Buffer.from(await response.arrayBuffer())
    const json = /json/.test(response.headers.get('content-type')) ? JSON.parse(bytes) : undefined
    return { status: response.status, bytes, json }
  } catch (error) {
    if (alive.gone) throw new Interrupted(`${method} ${path}`)
    throw error
  }
}

export const sendJson = (alive, method, path, value) =>
  send(alive, method, path, JSON.stringify(value), { 'content-type': 'application/json' })

// A dataset of the rows {id, text}, numbered from 0, in place of what it held.
export async function ingestTexts(alive, dataset, texts) {
  const lines = texts.map((text, id) => JSON.stringify({ id, text }))
  const answer = await send(alive, 'POST', `/ingest/file?dataset=${dataset}&format=ndjson&mode=replace`, lines.join('\n'))
  truth(answer.status === 201, `${dataset}: ${answer.status} ${answer.bytes}`)
}

// An index over one of those, whole when it is answered.
export const buildIndex = (alive, index, dataset, more) =>
  sendJson(alive, 'POST', '/vectors/indexes?wait=true', { index, dataset, id_column: 'id', text_column: 'text', ...more })

export async function rows(server, sql) {
  const answer = await sendJson({ server }, 'POST', '/query', { sql, limit: 100000 })
  if (answer.status !== 200) throw new Error(`${sql}: ${answer.status} ${answer.bytes}`)
  return answer.json.rows
}

// Steps one after another until the server is gone.
export async function until(alive, client) {
  while (!alive.gone) {
    try {
      await client.step(alive)
      client.acknowledged++
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error
      client.interrupted++
    }
  }
}
