// A client that builds indexes over a dataset that does not change, and deletes them again.
import { same, truth } from '../kit/server.mjs'
import { buildIndex, ingestTexts, send, sendJson } from './random.mjs'

const documents = 200, kept = 4
const text = i => `document number${i} about topic${i % 17} and subject${i % 23}`

export class IndexBuilder {
  constructor(random) {
    Object.assign(this, { name: 'indexes', random, acknowledged: 0, interrupted: 0, number: 0 })
    this.indexes = new Set()
    this.pending = null // the name of one being built or deleted
    this.ingested = false
  }

  async ingestOnce(alive) {
    await ingestTexts(alive, 'papers', Array.from({ length: documents }, (_, i) => text(i)))
    this.ingested = true
  }

  async step(alive) {
    if (!this.ingested) await this.ingestOnce(alive)
    if (this.indexes.size >= kept) {
      this.pending = [...this.indexes][this.random.below(kept)]
      const answer = await send(alive, 'DELETE', `/vectors/indexes/${this.pending}`)
      truth(answer.status === 200, `deleting ${this.pending}: ${answer.status} ${answer.bytes}`)
      this.indexes.delete(this.pending)
    } else {
      // A name that a crash left unfinished must be free for the next build.
      this.pending ??= `index${this.number++}`
      const answer = await buildIndex(alive, this.pending, 'papers', { vector_backend: this.number % 2 ? 'parquet' : 'lance' })
      truth(answer.status === 201 && answer.json.rows === documents, `building ${this.pending}: ${answer.status} ${answer.bytes}`)
      this.indexes.add(this.pending)
    }
    this.pending = null
  }

  async checkComplete(server, name) {
    const about = await send({ server }, 'GET', `/vectors/indexes/${name}`)
    truth(about.status === 200 && about.json.rows === documents && about.json.error === null, `${name}: ${about.bytes}`)
    const search = async (query, more) => {
      const answer = await sendJson({ server }, 'POST', '/vectors/search', { index: name, query, ...more })
      truth(answer.status === 200, `searching ${name}: ${answer.status} ${answer.bytes}`)
      return answer.json.hits
    }
    const wanted = this.random.below(documents)
    const [hit] = await search(`number${wanted}`, { k: 1 })
    same([hit.doc_id, hit.text], [`${wanted}`, text(wanted)], name)
    const all = await search('document', { k: documents, exact: true })
    truth(new Set(all.map(h => h.doc_id)).size === documents, `${name} finds ${all.length} of ${documents} documents`)
  }

  async check(server) {
    const { json } = await send({ server }, 'GET', '/vectors/indexes')
    const found = new Set(json.map(index => index.index).filter(name => name.startsWith('index')))
    for (const name of this.indexes) truth(found.has(name) || name === this.pending, `${name} is lost`)
    for (const name of found) {
      truth(this.indexes.has(name) || name === this.pending, `${name} was never acknowledged, nor under way`)
      await this.checkComplete(server, name)
    }
    this.indexes = found
    if (found.has(this.pending)) this.pending = null
  }
}
