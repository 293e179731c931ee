// Two clients of one index: one puts rows into it and deletes documents, the other folds it,
// refreshes it over a dataset that changes, and promotes configurations.
import { same, truth } from '../kit/server.mjs'
import { buildIndex, ingestTexts, send, sendJson } from './random.mjs'

const documents = 100
const text = (i, version) => `paper number${i} of edition${version}`
const at = '/vectors/indexes/living'

export class RowChanger {
  constructor(random) {
    Object.assign(this, { name: 'rows', random, acknowledged: 0, interrupted: 0, number: 0 })
    this.rows = new Map() // of each document that was put (its text) or deleted (null)
    this.pending = null // what an unanswered request would have made of its documents
    this.made = new Promise(resolve => { this.isMade = resolve })
  }

  // Of the dataset, and of its own.
  someId() { return this.random.below(2) ? `${this.random.below(documents)}` : `row${this.random.below(60)}` }

  async step(alive) {
    await Promise.race([this.made, new Promise(resolve => setTimeout(resolve, 1000))])
    if (!this.ready) return
    const ids = [...new Set(Array.from({ length: 1 + this.random.below(6) }, () => this.someId()))]
    const put = this.random.below(3) > 0
    this.pending = new Map(ids.map(id => [id, put ? `changed to wording${this.number++}` : null]))
    const answer = put
      ? await sendJson(alive, 'PUT', `${at}/rows`, { rows: ids.map(id => ({ doc_id: id, text: this.pending.get(id) })) })
      : await sendJson(alive, 'DELETE', `${at}/rows`, { doc_ids: ids })
    truth(answer.status === 200, `${put ? 'putting' : 'deleting'} rows: ${answer.status} ${answer.bytes}`)
    if (put) same(answer.json.upserted, ids.length)
    for (const [id, now] of this.pending) this.rows.set(id, now)
    this.pending = null
  }

  // Its requests happened, and the one that was cut off happened wholly or not at all.
  settle(found) {
    if (!this.pending) return
    const after = [...this.pending].every(([id, now]) => (found.get(id) ?? null) === now)
    if (after) for (const [id, now] of this.pending) this.rows.set(id, now)
    this.pending = null
  }

  async check(server) {
    if (!this.ready) return
    const answer = await sendJson({ server }, 'POST', '/vectors/search', { index: 'living', query: 'paper', k: 1000, exact: true, rows: false })
    truth(answer.status === 200, `searching: ${answer.status} ${answer.bytes}`)
    const found = new Map(answer.json.hits.map(hit => [hit.doc_id, hit.text]))
    this.settle(found)
    for (const [id, now] of this.rows) same(found.get(id) ?? null, now, `document ${id}:`)
    for (let i = 0; i < documents; i++)
      if (!this.rows.has(`${i}`)) truth(/^paper number\d+ of edition\d+$/.test(found.get(`${i}`)), `document ${i} is lost: ${found.get(`${i}`)}`)
    for (const id of found.keys()) truth(this.rows.has(id) || Number(id) < documents, `${id} was never put`)
    const about = await send({ server }, 'GET', at)
    same([about.json.error, about.json.rows], [null, found.size], 'the index:')
  }
}

export class RowBuilder {
  constructor(changer, random) {
    Object.assign(this, { name: 'builds', changer, random, acknowledged: 0, interrupted: 0, edition: 0 })
  }

  async ingest(alive) {
    await ingestTexts(alive, 'living', Array.from({ length: documents }, (_, i) => text(i, this.edition + 1)))
    this.edition++
  }

  async make(alive) {
    await this.ingest(alive)
    const answer = await buildIndex(alive, 'living', 'living')
    truth(answer.status === 201 || answer.json.code === 'index_exists', `making living: ${answer.status} ${answer.bytes}`)
    const made = await sendJson(alive, 'PUT', '/vectors/evals/living/e', { sample: 3 })
    truth(made.status < 300, `the eval set: ${made.status} ${made.bytes}`)
    this.changer.ready = true
    this.changer.isMade()
  }

  async promote(alive) {
    const trial = await sendJson(alive, 'POST', '/vectors/trials/living', { eval: 'e', config: { m: 4 + 4 * this.random.below(4) } })
    if (trial.status >= 300) return trial
    return sendJson(alive, 'POST', '/vectors/promotions/living', { trial: trial.json.trial })
  }

  async step(alive) {
    if (!this.changer.ready) return this.make(alive)
    const which = this.random.below(3)
    if (which === 1) await this.ingest(alive)
    const answer = which === 0 ? await send(alive, 'POST', `${at}/compact?wait=true`)
      : which === 1 ? await send(alive, 'POST', `${at}/refresh?wait=true`) : await this.promote(alive)
    // The log may be having its upkeep.
    truth(answer.status < 300 || answer.json?.code === 'index_busy', `${['fold', 'refresh', 'promotion'][which]}: ${answer.status} ${answer.bytes}`)
  }

  // One edition as a whole, and nothing that a build left half-done is in force.
  async check(server) {
    if (!this.changer.ready) return
    const answer = await sendJson({ server }, 'POST', '/vectors/search', { index: 'living', query: 'paper', k: 1000, mode: 'text', rows: false })
    const editions = new Set(answer.json.hits.map(hit => /^paper number\d+ of (edition\d+)$/.exec(hit.text)?.[1]).filter(Boolean))
    truth(editions.size <= 1, `documents of ${[...editions].join(' and ')}`)
  }
}
