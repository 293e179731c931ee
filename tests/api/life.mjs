// Rows are put into a vector index and deleted from it, seen by the next search and kept.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const data = freshDir()
let server = await startServer(data)
const topics = 'river stone cloud engine garden mirror copper violin harbor lantern'.split(' ')
const text = i => `${topics[i % 10]} ${topics[i % 7]} number${i}`
const lines = Array.from({ length: 1500 }, (_, i) => JSON.stringify({ id: i, topic: topics[i % 10], text: text(i) }))
await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', lines.join('\n'))
same((await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text' })).status, 201)
const points = Array.from({ length: 50 }, (_, i) => JSON.stringify({ id: `p${i}`, v: [i, 0, 0, 1] })).join('\n')
await call(server, 'POST', '/ingest/file?dataset=points&format=ndjson', points)
await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'points', dataset: 'points', vector_column: 'v', metric: 'l2' })

const put = (rows, index = 'notes') => call(server, 'PUT', `/vectors/indexes/${index}/rows`, { rows })
const remove = (ids, index = 'notes') => call(server, 'DELETE', `/vectors/indexes/${index}/rows`, { doc_ids: ids })
const find = async (query, more) => {
  const answer = await call(server, 'POST', '/vectors/search', { index: 'notes', query, k: 5, ...more })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json.hits
}
const ids = hits => hits.map(hit => hit.doc_id)
const index = async name => (await call(server, 'GET', `/vectors/indexes/${name ?? 'notes'}`)).json
const modes = [{}, { exact: true }, { mode: 'text' }, { mode: 'hybrid' }]

await check('a row that is put is found at once in every mode, with its text and score', async () => {
  const done = await put([{ doc_id: 'new', text: 'a submarine below the ice' }])
  same([done.status, done.json], [200, { index: 'notes', upserted: 1 }])
  for (const mode of modes) {
    const [hit] = await find('submarine', mode)
    same([hit.doc_id, hit.chunk, hit.text, hit.row], ['new', 0, 'a submarine below the ice', undefined], JSON.stringify(mode))
  }
  const vector = (await call(server, 'POST', '/ai/embed', { texts: ['x'] })).json.embeddings[0]
  same(vector.length, (await index()).dimensions)
  same([(await index()).rows, (await index()).documents, (await index()).rows_put], [1501, 1501, 1])
})

await check('a put in place of a document of the dataset hides what it had, and keeps its row', async () => {
  same((await put([{ doc_id: '7', text: 'a zeppelin over the alps' }])).json.upserted, 1)
  for (const mode of modes) {
    same((await find('zeppelin', mode))[0].doc_id, '7')
    truth((await find('number7', mode)).every(hit => hit.doc_id !== '7' || hit.text.includes('zeppelin')), 'the old text was found')
  }
  same((await find('zeppelin'))[0].row.text, text(7))
  same([(await index()).rows, (await index()).rows_put, (await index()).rows_deleted], [1501, 2, 1])
})

await check('a deleted document is gone in every mode, one that was not there is not counted', async () => {
  same((await remove(['11', 'new', 'never', '11'])).json, { index: 'notes', deleted: 2 })
  for (const mode of modes) {
    truth(!ids(await find('number11', mode)).includes('11'), 'a deleted document was found')
    truth(!ids(await find('submarine', mode)).includes('new'), 'a deleted document was found')
  }
  same((await remove(['11'])).json.deleted, 0)
  same((await index()).rows, 1499)
  same((await find('document', { k: 2000, exact: true })).length, 1499)
  same((await find('document', { k: 2000 })).length, 1499)
})

await check('a deleted document can be put again, and put again replaces it', async () => {
  await put([{ doc_id: '11', text: 'an avalanche' }])
  await put([{ doc_id: '11', text: 'a glacier' }])
  same(ids(await find('glacier', { k: 1, mode: 'text' })), ['11'])
  same(await find('avalanche', { mode: 'text' }), [])
  same((await index()).rows, 1500)
})

await check('of a document twice in one request the last counts', async () => {
  same((await put([{ doc_id: 'twice', text: 'first walrus' }, { doc_id: 'once', text: 'a puffin' },
    { doc_id: 'twice', text: 'second walrus' }])).json.upserted, 2)
  const hits = await find('walrus', { mode: 'text' })
  same(hits.map(hit => [hit.doc_id, hit.text]), [['twice', 'second walrus']])
})

await check('ids and texts of any language and length come back as they were', async () => {
  const rows = [{ doc_id: 'Ünïcode/✓ "quoted"', text: 'Straße naïve 東京 🚀 gelb' }, { doc_id: 'line\nbreak', text: 'tab\tand\nline xylophone' },
    { doc_id: 'x'.repeat(4096), text: `long ${'word '.repeat(50)}saxophone` }]
  same((await put(rows)).json.upserted, 3)
  const one = async (query, row) => {
    const [hit] = await find(query, { mode: 'text', k: 1 })
    same([hit.doc_id, hit.text], [row.doc_id, row.text])
  }
  await one('gelb', rows[0])
  await one('xylophone', rows[1])
  await one('saxophone', rows[2])
  same((await remove(rows.map(row => row.doc_id))).json.deleted, 3)
})

await check('a long text is cut into chunks, which count as one document and are replaced as one', async () => {
  const sentence = i => `Sentence ${i} tells of a flamingo by the lake and of nothing else at all.`
  const long = Array.from({ length: 60 }, (_, i) => sentence(i)).join(' ')
  await put([{ doc_id: 'long', text: long }])
  const many = await find('flamingo', { per_document: 1000, k: 100, mode: 'text' })
  truth(many.length > 2 && many.every(hit => hit.doc_id === 'long'), many.length)
  same(new Set(many.map(hit => hit.chunk)).size, many.length)
  same((await find('flamingo', { k: 100, mode: 'text' })).length, 1)
  const before = (await index()).rows
  await put([{ doc_id: 'long', text: 'a heron' }])
  same((await index()).rows, before - many.length + 1)
  same(await find('flamingo', { mode: 'text' }), [])
  await remove(['long'])
})

await check('a filter over the dataset holds for rows put by their document, and not for strangers', async () => {
  await put([{ doc_id: '20', text: 'a marmot in the garden' }, { doc_id: 'stranger', text: 'another marmot' }])
  for (const mode of modes) {
    same(ids(await find('marmot', { ...mode, filter: "topic = 'river'", k: 1 })), ['20'])
    truth(!ids(await find('marmot', { ...mode, filter: 'id >= 0', k: 2000 })).includes('stranger'), 'a stranger passed')
    truth(!ids(await find('marmot', { ...mode, filter: 'id <> 20', k: 2000 })).includes('20'), 'the filter was passed')
  }
  await remove(['21'])
  same((await find('x', { filter: "id IN (20, 21, 22)", k: 10, exact: true })).map(hit => hit.doc_id).sort(), ['20', '22'])
})

await check('vectors of one\'s own are put, as they are, and found by their distance', async () => {
  same((await put([{ doc_id: 'far', vector: [1000, 0, 0, 1] }, { doc_id: 'p3', vector: [2000, 0, 0, 1], text: 'unused' }], 'points')).json.upserted, 2)
  const near = async vector => (await call(server, 'POST', '/vectors/search', { index: 'points', vector, k: 2 })).json.hits
  same((await near([1000, 0, 0, 3])).map(hit => [hit.doc_id, hit.score]), [['far', -2], ['p49', -951.0021]])
  same((await near([2000, 0, 0, 1]))[0], { doc_id: 'p3', chunk: 0, score: 0, row: (await near([2000, 0, 0, 1]))[0].row })
  same(ids(await near([3, 0, 0, 1])), ['p2', 'p4'])
})

await check('bad rows are refused whole, and say which and why', async () => {
  const good = { doc_id: 'good', text: 'a good row' }
  const bad = async (row, status, code) => truth(/row 1/.test(problem(await put([good, row]), status, code)), 'which row is not said')
  await bad({ doc_id: 'x' }, 400, 'missing_field')
  await bad({ doc_id: 'x', text: '  \n' }, 400, 'missing_field')
  await bad({ text: 'x' }, 400, 'missing_field')
  await bad({ doc_id: 5, text: 'x' }, 400, 'wrong_type')
  await bad({ doc_id: '', text: 'x' }, 400, 'bad_doc_id')
  await bad({ doc_id: 'x'.repeat(4097), text: 'x' }, 400, 'bad_doc_id')
  await bad({ doc_id: 'x', text: 'x', colour: 'red' }, 400, 'unknown_field')
  await bad({ doc_id: 'x', text: ['x'] }, 400, 'wrong_type')
  await bad({ doc_id: 'x', vector: [1, 2] }, 422, 'wrong_dimension')
  await bad({ doc_id: 'x', vector: Array(384).fill('1') }, 400, 'wrong_type')
  await bad('x', 400, 'wrong_type')
  problem(await put([{ doc_id: 'x', text: 'words' }], 'points'), 422, 'no_model')
  problem(await put([]), 400, 'empty_list')
  problem(await put('rows'), 400, 'wrong_type')
  problem(await put([good], 'nots'), 404, 'index_not_found')
  problem(await remove(['x'], 'none'), 404, 'index_not_found')
  problem(await remove([1]), 400, 'wrong_type')
  problem(await remove(Array(10001).fill('x')), 413, 'too_many_rows')
  problem(await call(server, 'PUT', '/vectors/indexes/notes/rows', { rows: [good], more: 1 }), 400, 'unknown_field')
  problem(await call(server, 'DELETE', '/vectors/indexes/notes/rows'), 400, 'missing_body')
  same(await find('good', { mode: 'text' }), [])
})

await check('everything that was answered is there after a kill, and after a stop', async () => {
  const states = [await index(), await index('points')]
  const before = await find('marmot', { mode: 'hybrid', k: 50 })
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    await server.stop(signal)
    server = await startServer(data)
    for (const [i, name] of ['notes', 'points'].entries()) {
      const now = await index(name)
      same([now.rows, now.documents, now.rows_put, now.rows_deleted, now.error],
        [states[i].rows, states[i].documents, states[i].rows_put, states[i].rows_deleted, null])
    }
    same(await find('marmot', { mode: 'hybrid', k: 50 }), before)
  }
})

await check('writers and searches side by side: each put is seen by the search after it', async () => {
  const writer = async name => {
    for (let i = 0; i < 15; i++) {
      const word = `w${name}x${i}q`
      same((await put([{ doc_id: `w-${name}`, text: `${word} by ${name}` }])).status, 200)
      same((await find(word, { mode: 'text' })).map(hit => [hit.doc_id, hit.text]), [[`w-${name}`, `${word} by ${name}`]])
    }
    same((await remove([`w-${name}`])).json.deleted, 1)
  }
  await Promise.all(['ada', 'bob', 'cyd', 'dan'].map(writer))
})

await check('a deleted index takes its rows along, and one of the same name does not see them', async () => {
  const folder = join(data, 'primary/vectors')
  await call(server, 'DELETE', '/vectors/indexes/points')
  truth(!readdirSync(folder).includes('points'), 'something is left')
  await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'points', dataset: 'points', vector_column: 'v', metric: 'l2' })
  same([(await index('points')).rows, (await index('points')).rows_put], [50, 0])
  same((await put([{ doc_id: 'again', vector: [5, 5, 5, 5] }], 'points')).json.upserted, 1)
})
await server.stop()
