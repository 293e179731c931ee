// A client that writes, overwrites and deletes objects below its own prefix, one at a time.
import { truth } from '../kit/server.mjs'
import { send } from './random.mjs'

const objects = '/storage/buckets/primary/objects'
const kept = 150 // small keys of a client at most: more are deleted again
const absent = { generation: 0, size: 0 }

// The bytes that a key has in a generation. Each 512 bytes name their place, so that neither two
// generations nor two places of one can be taken for each other.
function content(key, { generation, size }) {
  const bytes = Buffer.alloc(size, `${key} ${generation} `)
  for (let at = 0; at + 24 <= size; at += 512) bytes.write(`${generation}@${at};`, at)
  return bytes
}

export class ObjectWriter {
  constructor(name, random) {
    Object.assign(this, { name, random, acknowledged: 0, interrupted: 0, generation: 0 })
    this.values = new Map() // key -> the value that was acknowledged
    this.pending = null // {key, value} under way when the server went
  }

  chooseKey() {
    const kind = this.random.below(10)
    const known = [...this.values.keys()].filter(key => !key.includes('/large/'))
    if (kind < 2) return `${this.name}/large/${this.random.below(3)}`
    if (kind < 6 || known.length === 0) return `${this.name}/${this.random.below(8)}/ä ${this.generation}`
    return known[this.random.below(known.length)]
  }

  chooseValue(key) {
    const large = key.includes('/large/')
    if (this.values.has(key) && (this.values.size > kept || this.random.below(6) === 0) && !large) return absent
    const size = large ? 2e6 + this.random.below(5e6) : this.random.below(3000)
    return { generation: this.generation, size }
  }

  async step(alive) {
    this.generation++
    const key = this.chooseKey(), value = this.chooseValue(key)
    this.pending = { key, value }
    const path = `${objects}/${encodeURI(key)}`
    const answer = value === absent ? await send(alive, 'DELETE', path)
      : await send(alive, 'PUT', path, content(key, value))
    truth(answer.status === (value === absent ? 204 : 201), `${key}: ${answer.status} ${answer.bytes}`)
    this.settle(value)
  }

  settle(value) {
    if (value === absent) this.values.delete(this.pending.key)
    else this.values.set(this.pending.key, value)
    this.pending = null
  }

  // What is there is the value under way or the one before it; from now on it is that one.
  async settlePending(server) {
    if (!this.pending) return
    const { key, value } = this.pending
    const before = this.values.get(key) ?? absent
    const answer = await send({ server }, 'GET', `${objects}/${encodeURI(key)}`)
    const found = [value, before].find(candidate => candidate === absent ? answer.status === 404
      : answer.status === 200 && answer.bytes.equals(content(key, candidate)))
    truth(found, `${key} (${answer.status}, ${answer.bytes.length} bytes) is neither generation ` +
      `${before.generation} nor ${value.generation}`)
    this.settle(found)
  }

  async check(server) {
    await this.settlePending(server)
    for (const [key, value] of this.values) {
      const answer = await send({ server }, 'GET', `${objects}/${encodeURI(key)}`)
      truth(answer.status === 200, `${key}: ${answer.status}`)
      truth(answer.bytes.equals(content(key, value)), `${key} is not generation ${value.generation}`)
    }
  }
}

export async function listAll(server) {
  const found = []
  for (let after = ''; after !== null;) {
    const { json } = await send({ server }, 'GET', `${objects}?after=${encodeURIComponent(after)}`)
    found.push(...json.objects)
    after = json.next
  }
  return found
}

// Exactly what the clients wrote, and below the server's own prefixes nothing temporary.
export async function checkListing(server, writers) {
  const expected = new Map(writers.flatMap(writer => [...writer.values]))
  const own = /^(warehouse|vectors|_lakehouse)\//
  for (const { key, size } of await listAll(server)) {
    truth(!/staging|\.tmp$|\.part$|\/\./.test(key), `'${key}' is a temporary file`)
    if (own.test(key)) continue
    truth(expected.get(key)?.size === size, `'${key}' of ${size} bytes was never written`)
    expected.delete(key)
  }
  truth(expected.size === 0, `not listed: ${[...expected.keys()].join(', ')}`)
}
