// Rows put into an index and deleted from it outlive every new build: fold, refresh, promotion.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const topics = 'river stone cloud engine garden mirror copper violin harbor lantern'.split(' ')
const text = i => `${topics[i % 10]} ${topics[i % 7]} number${i}`
const line = i => JSON.stringify({ id: i, text: text(i) })
const ingest = (lines, mode) => call(server, 'POST', `/ingest/file?dataset=notes&format=ndjson&mode=${mode}`, lines.join('\n'))
await ingest(Array.from({ length: 3000 }, (_, i) => line(i)), 'create')
await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })

const at = '/vectors/indexes/notes'
const put = rows => call(server, 'PUT', `${at}/rows`, { rows })
const remove = ids => call(server, 'DELETE', `${at}/rows`, { doc_ids: ids })
async function job(name) {
  for (;;) {
    const answer = await call(server, 'POST', `${at}/${name}?wait=true`)
    if (answer.json?.code !== 'index_busy') return answer
    await new Promise(resolve => setTimeout(resolve, 50)) // the log is having its upkeep
  }
}
const index = async () => (await call(server, 'GET', at)).json
const find = async (query, more) => (await call(server, 'POST', '/vectors/search', { index: 'notes', query, k: 5, rows: false, ...more })).json.hits
const files = folder => readdirSync(join(data, 'primary/vectors/notes', folder))
const log = () => files(`rows/${readdirSync(join(data, 'primary/vectors/notes/rows'))[0]}`)
const all = async () => (await find('document', { k: 9000, exact: true })).map(hit => `${hit.doc_id} ${hit.text} ${hit.score}`).sort()
const restart = async signal => { await server.stop(signal); server = await startServer(data) }

await check('a fold changes nothing that a search sees, embeds nothing and leaves one build', async () => {
  await put([{ doc_id: 'a', text: 'an albatross' }, { doc_id: '5', text: 'five badgers' }, { doc_id: 'b', text: 'gone soon' }])
  await remove(['b', '6', '7'])
  const before = await all()
  const ranked = await find('an albatross and five badgers', { mode: 'hybrid' })
  const done = await job('compact')
  same([done.status, done.json], [200, { index: 'notes', rows: 2999, documents: 2999, rows_put: 2, rows_deleted: 3 }], done.text)
  same(await all(), before)
  same((await find('an albatross and five badgers', { mode: 'hybrid' })).slice(0, 2).map(hit => hit.doc_id), ranked.slice(0, 2).map(hit => hit.doc_id))
  const { rows, documents, rows_put, rows_deleted } = await index()
  same([rows, documents, rows_put, rows_deleted], [2999, 2999, 0, 0])
  for (const folder of ['hnsw', 'vectors', 'text']) same(files(folder).length, 1, folder)
  await restart('SIGKILL')
  same(await all(), before)
  same((await job('compact')).json.rows, 2999)
})

await check('a refresh brings the dataset, and what was put and deleted by hand holds over it', async () => {
  await ingest([...Array.from({ length: 10 }, (_, i) => line(i)), JSON.stringify({ id: 9999, text: 'a capybara' })], 'replace')
  await put([{ doc_id: 'late', text: 'a late lynx' }])
  const done = (await job('refresh')).json
  same([done.embedded, done.reused, done.rows_put, done.rows], [1, 7, 3, 11])
  const found = new Set((await find('document', { k: 100 })).map(hit => hit.doc_id))
  same([...found].sort(), ['0', '1', '2', '3', '4', '5', '8', '9', '9999', 'a', 'late'])
  same((await find('badgers', { mode: 'text' }))[0].text, 'five badgers')
  same((await find('number5', { mode: 'text' })), [])
  same([(await index()).stale, (await index()).rows_put], [false, 0])
  await restart('SIGKILL')
  same((await find('document', { k: 100 })).length, 11)
})

// Puts one row after the other until the work ends; each is there at once, and after it.
async function putDuring(work, name) {
  let ended = false
  work.then(() => { ended = true })
  let i = 0
  for (; !ended || i < 3; i++) {
    same((await put([{ doc_id: `${name}${i}`, text: `${name}word${i} of a row` }])).status, 200)
    same((await find(`${name}word${i}`, { mode: 'text' })).map(hit => hit.doc_id), [`${name}${i}`])
    if (i % 3 === 2) same((await remove([`${name}${i}`])).json.deleted, 1)
  }
  const answer = await work
  same(answer.status, 200, answer.text)
  for (let j = 0; j < i; j++)
    same((await find(`${name}word${j}`, { mode: 'text' })).length, j % 3 === 2 ? 0 : 1, `${name}${j} of ${i}`)
  return i
}

await check('what is put and deleted during a fold or a refresh is not lost', async () => {
  await ingest(Array.from({ length: 4000 }, (_, i) => line(i)), 'replace')
  const during = [await putDuring(job('refresh'), 'refresh')]
  for (let i = 0; i < 3; i++) during.push(await putDuring(job('compact'), `fold${'xyz'[i]}`))
  truth(during[0] > 3, `only ${during} rows were put meanwhile`)
  const { rows } = await index()
  await restart('SIGKILL')
  same((await index()).rows, rows)
  same((await find('foldxword0', { mode: 'text' })).length, 1)
  same((await find('foldxword2', { mode: 'text' })).length, 0)
})

await check('a trial, a promotion and a rollback go on under the rows', async () => {
  await put([{ doc_id: 'under', text: 'a unicorn under a new graph' }])
  await remove(['100'])
  await call(server, 'PUT', '/vectors/evals/notes/e', { sample: 10 })
  const trial = (await call(server, 'POST', '/vectors/trials/notes', { eval: 'e', config: { m: 8 } })).json.trial
  for (const path of ['', '/rollback']) {
    same((await call(server, 'POST', `/vectors/promotions/notes${path}`, path ? undefined : { trial })).status, 200)
    same((await find('unicorn'))[0].doc_id, 'under')
    same((await find('number100', { mode: 'text' })), [])
    await put([{ doc_id: `since${path}`, text: `since the promotion ${path}` }])
  }
  same((await find('since the promotion', { mode: 'text' })).length, 2)
})

await check('many small puts leave few objects, and the same rows', async () => {
  for (let i = 0; i < 140; i++) await put([{ doc_id: `small${i % 50}`, text: `smallword${i}` }])
  for (let waited = 0; log().length > 40 && waited < 100; waited++) await new Promise(resolve => setTimeout(resolve, 100))
  truth(log().length <= 40, `${log().length} objects`)
  const before = await all()
  await restart('SIGKILL')
  same(await all(), before)
})

await check('an overlay that has grown large is folded by itself', async () => {
  const before = (await index()).rows
  const rows = Array.from({ length: 2100 }, (_, i) => ({ doc_id: `many${i}`, text: `manyword${i}` }))
  same((await put(rows)).json.upserted, 2100)
  // Where the index was held for something else just then, a later put asks for it.
  for (const until = Date.now() + 60000; (await index()).rows_put > 2000 && Date.now() < until;) {
    await new Promise(resolve => setTimeout(resolve, 200))
    await put([{ doc_id: 'many0', text: 'manyword0' }])
  }
  same((await index()).rows, before + 2100)
  truth((await index()).rows_put < 2000, (await index()).rows_put)
  same((await find('manyword77', { mode: 'text' })).map(hit => hit.doc_id), ['many77'])
})

await check('an index whose documents are all deleted is empty, folded too, and takes rows again', async () => {
  const ids = (await find('document', { k: 10000, exact: true })).map(hit => hit.doc_id)
  same((await remove(ids)).json.deleted, ids.length)
  for (const step of [() => {}, () => job('compact'), () => restart('SIGTERM')]) {
    await step()
    same((await index()).rows, 0)
    for (const mode of ['vector', 'text', 'hybrid']) same(await find('number1', { mode }), [])
  }
  await put([{ doc_id: 'first', text: 'a first row' }])
  for (const mode of ['vector', 'text', 'hybrid']) same((await find('first', { mode })).map(hit => hit.doc_id), ['first'], mode)
})

await check('a refresh to a dataset whose every document was put by hand embeds nothing of it', async () => {
  await ingest([JSON.stringify({ id: 'first', text: 'what the dataset says' })], 'replace')
  const done = (await job('refresh')).json
  same([done.embedded, done.reused, done.rows_put, done.rows], [0, 0, 1, 1])
  same((await find('first', { mode: 'text' })).map(hit => hit.text), ['a first row'])
})
await server.stop()
