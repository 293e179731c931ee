// Clients that ingest: batches that must be in a dataset wholly or not at all.
import { same, truth } from '../kit/server.mjs'
import { rows, send } from './random.mjs'

const batchRows = 400

const sum = count => count * (count - 1) / 2

// A batch of `count` rows numbered from 0, some with text enough to make several files' worth.
function csv(batch, count) {
  const lines = ['batch,row,note']
  for (let i = 0; i < count; i++) lines.push(`${batch},${i},note ${i} of batch ${batch}`)
  return lines.join('\n') + '\n'
}

async function ingest(alive, dataset, mode, batch, count) {
  const path = `/ingest/file?dataset=${dataset}&format=csv&mode=${mode}`
  const answer = await send(alive, 'POST', path, csv(batch, count))
  truth(answer.status === 201 && answer.json.rows === count, `${path}: ${answer.status} ${answer.bytes}`)
}

// batch -> its rows, each batch found complete or not at all.
async function batchesOf(server, dataset) {
  const found = new Map()
  const sql = `SELECT batch, count(*), count(DISTINCT row), sum(row)::BIGINT FROM ${dataset} GROUP BY batch`
  for (const [batch, count, distinct, total] of await rows(server, sql)) {
    same([distinct, Number(total)], [count, sum(count)], `batch ${batch} of ${dataset} has ${count} rows, distinct and sum`)
    found.set(batch, count)
  }
  return found
}

const exists = async (server, dataset) =>
  (await send({ server }, 'GET', `/catalog/datasets/${dataset}`)).status === 200

// Appends, and now and then drops the dataset and creates it anew.
export class Appender {
  constructor(name, random) {
    Object.assign(this, { name, random, acknowledged: 0, interrupted: 0, batch: 0 })
    this.batches = null // null: there is no dataset
    this.pending = null // what `batches` may be instead
  }

  async step(alive) {
    const count = 1 + this.random.below(batchRows), batch = ++this.batch
    if (this.batches && this.random.below(20) === 0) {
      this.pending = { batches: null }
      const answer = await send(alive, 'DELETE', `/catalog/datasets/${this.name}?purge=true`)
      truth(answer.status === 200, `dropping ${this.name}: ${answer.status} ${answer.bytes}`)
    } else {
      const mode = this.batches ? 'append' : 'create'
      this.pending = { batches: new Map([...this.batches ?? [], [batch, count]]) }
      await ingest(alive, this.name, mode, batch, count)
    }
    this.batches = this.pending.batches
    this.pending = null
  }

  async check(server) {
    const found = await exists(server, this.name) ? await batchesOf(server, this.name) : null
    const text = batches => batches && JSON.stringify([...batches].sort((a, b) => a[0] - b[0]))
    const allowed = [this, this.pending].filter(Boolean).map(state => text(state.batches))
    truth(allowed.includes(text(found)), `${this.name} holds ${text(found)}, not ${allowed.join(' or ')}`)
    this.batches = found
    this.pending = null
  }
}

// Replaces the whole dataset each time.
export class Replacer {
  constructor(name, random) {
    Object.assign(this, { name, random, acknowledged: 0, interrupted: 0, batch: 0 })
    this.current = null // [batch, count]
    this.pending = null
  }

  async step(alive) {
    const count = 1 + this.random.below(5 * batchRows)
    this.pending = [++this.batch, count]
    await ingest(alive, this.name, this.current ? 'replace' : 'create', this.batch, count)
    this.current = this.pending
    this.pending = null
  }

  async check(server) {
    const found = await exists(server, this.name) ? [...await batchesOf(server, this.name)] : [null]
    truth(found.length === 1, `${this.name} holds ${found.length} batches`)
    const allowed = [JSON.stringify(this.current), this.pending && JSON.stringify(this.pending)]
    truth(allowed.includes(JSON.stringify(found[0])), `${this.name} is ${found[0]}, not ${allowed.join(' or ')}`)
    this.current = found[0]
    this.pending = null
  }
}

