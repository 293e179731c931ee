// Searches, puts, deletes, refreshes, folds, trials and promotions of one index at once: each
// answers what it should, and at the end every acknowledged row is there.
//   SECONDS=5 says how long; a slow machine goes on, to a minute, until each kind got through once
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const seconds = Number(process.env.SECONDS ?? 5), documents = 600
const text = (i, version) => `document number${i} about topic${i % 17} in version${version}`
const ingest = version => call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson&mode=replace',
  Array.from({ length: documents }, (_, i) => JSON.stringify({ id: i, text: text(i, version) })).join('\n'))
await ingest(0)
await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })
await call(server, 'PUT', '/vectors/evals/notes/e', { sample: 5 })
const at = '/vectors/indexes/notes'
const search = more => call(server, 'POST', '/vectors/search', { index: 'notes', k: 5, rows: false, ...more })
const done = {}
let until = Date.now() + seconds * 1000, latest = Date.now() + 60000
const goesOn = () => Date.now() < until || (Date.now() < latest && Object.values(done).includes(0))

// The work again and again; an index that another change holds is asked again later.
async function repeat(name, step) {
  done[name] = 0
  for (let i = 0; goesOn(); i++) {
    const answer = await step(i).catch(error => { until = latest = 0; throw error })
    if (answer?.status === 409 && answer.json.code === 'index_busy') await new Promise(resolve => setTimeout(resolve, 20))
    else if (answer && answer.status >= 300) throw new Error(`${name}: ${answer.status} ${answer.text}`)
    else done[name]++
  }
}
const modes = [{}, { mode: 'text' }, { mode: 'hybrid' }, { exact: true }, { filter: 'id < 300' }, { per_document: 3, k: 50 }]
async function searching(i) {
  const answer = await search({ query: `number${i % documents} topic${i % 17}`, ...modes[i % modes.length] })
  same(answer.status, 200, answer.text)
  truth(answer.json.hits.length > 0, `nothing was found ${JSON.stringify(modes[i % modes.length])}`)
  truth(answer.json.hits.every((hit, j, all) => j === 0 || hit.score <= all[j - 1].score), answer.text)
}

// Each writer has documents of its own, some of them the dataset's, and knows what they are.
class Writer {
  constructor(name, from) { Object.assign(this, { name, from, now: new Map() }) }
  id(i) { return i % 3 === 0 ? `${this.from + i % 50}` : `${this.name}${i % 40}` }
  async step(i) {
    const id = this.id(i)
    if (i % 4 === 3) {
      const answer = await call(server, 'DELETE', `${at}/rows`, { doc_ids: [id] })
      if (this.now.has(id)) same(answer.json.deleted, this.now.get(id) ? 1 : 0, `${id}: `)
      this.now.set(id, null)
      return answer
    }
    const rows = Array.from({ length: 1 + i % 5 }, (_, j) => ({ doc_id: this.id(i + j), text: `${this.name}word${i + j} of ${this.name}` }))
    const answer = await call(server, 'PUT', `${at}/rows`, { rows })
    same(answer.status, 200, answer.text)
    for (const row of rows) this.now.set(row.doc_id, row.text)
    const last = rows.at(-1)
    const found = await search({ query: last.text, mode: 'text', k: 1 })
    same(found.json.hits.map(hit => [hit.doc_id, hit.text]), [[last.doc_id, last.text]])
  }
}
const writers = [new Writer('ada', 100), new Writer('bob', 200), new Writer('cyd', 300)]

async function holdsAll(what) {
  const expected = new Map()
  for (const writer of writers) for (const [id, value] of writer.now) expected.set(id, value)
  const hits = (await search({ query: 'document', k: 5000, exact: true })).json.hits
  const found = new Map(hits.map(hit => [hit.doc_id, hit.text]))
  for (const [id, value] of expected) same(found.get(id) ?? null, value, `${what}: ${id}`)
  for (let i = 0; i < documents; i++) truth(expected.has(`${i}`) || found.has(`${i}`), `${what}: ${i} of the dataset is lost`)
  const live = [...expected.values()].filter(Boolean).length + Array.from({ length: documents }, (_, i) => `${i}`).filter(id => !expected.has(id)).length
  same([(await call(server, 'GET', at)).json.rows, found.size], [live, live], what)
}

await check('searches, puts, deletes, refreshes, folds and promotions do not get in one another\'s way', async () => {
  const busy = async path => call(server, 'POST', path)
  let trial
  const all = await Promise.allSettled([
    repeat('search', searching), repeat('more searches', i => searching(i * 7 + 3)),
    ...writers.map(writer => repeat(writer.name, i => writer.step(i))),
    repeat('fold', async () => {
      await new Promise(resolve => setTimeout(resolve, 200)) // the others' turn
      return busy(`${at}/compact?wait=true`)
    }),
    repeat('refresh', async i => { await ingest(i + 1); return busy(`${at}/refresh?wait=true`) }),
    repeat('promotion', async i => {
      trial ??= (await call(server, 'POST', '/vectors/trials/notes', { eval: 'e', config: { m: 4 + i % 3 * 4 } })).json.trial
      const answer = await call(server, 'POST', '/vectors/promotions/notes', { trial })
      if (answer.status !== 409) trial = null
      return answer
    }),
    repeat('reading', async () => {
      const answers = await Promise.all([at, '/vectors/indexes', '/metrics', '/vectors/promotions/notes'].map(path => call(server, 'GET', path)))
      await new Promise(resolve => setTimeout(resolve, 50))
      return answers.find(answer => answer.status >= 300)
    }),
  ])
  const failed = all.find(result => result.status === 'rejected')
  if (failed) throw failed.reason
  console.log(`     ${JSON.stringify(done)}`)
  for (const [name, times] of Object.entries(done)) truth(times > 0, `${name} never got through`)
})
await check('at the end every acknowledged row is there, and after a kill', async () => {
  await holdsAll('running')
  await server.stop('SIGKILL')
  server = await startServer(data)
  await holdsAll('restarted')
  await call(server, 'POST', `${at}/compact?wait=true`)
  await holdsAll('folded')
})
await server.stop()
