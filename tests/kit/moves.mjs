// Two servers share the buckets "primary" and "other": what is put through one while the other moves
// the index to and fro is there afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import { call, same, truth } from './server.mjs'

const at = '/vectors/indexes/notes'

export async function within(ms, ask) {
  for (const until = Date.now() + ms; ; await sleep(100)) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > until) throw new Error(`${ask}: not within ${ms} ms`)
  }
}

export async function makeNotes(server, more = {}) {
  const rows = Array.from({ length: 300 }, (_, i) => JSON.stringify({ id: i, text: `note number${i}` }))
  same((await call(server, 'POST', '/ingest/file?dataset=notes&format=ndjson', rows.join('\n'))).status, 201)
  const made = await call(server, 'POST', '/vectors/indexes?wait=true', { index: 'notes', dataset: 'notes', text_column: 'text', ...more })
  same(made.status, 201, made.text)
}

// What the other server changes meanwhile (it folds by itself) is answered so, and asked again.
export async function change(server, method, path, body) {
  let answer
  return within(60000, async () => {
    answer = await call(server, method, path, body)
    truth(answer.status === 200 || ['index_changed', 'index_busy'].includes(answer.json.code), answer.text)
    return answer.status === 200 && answer.json
  }).catch(error => { throw new Error(`${error.message}: ${answer?.text}`) })
}
export const move = (server, bucket) => change(server, 'PATCH', `${at}?wait=true`, { bucket })
export const bucketOf = async server => (await call(server, 'GET', at)).json.bucket

// Puts, and deletes each fifth again, until `goes` says no: document -> whether it is there.
async function write(server, name, goes) {
  const now = new Map()
  for (let i = 0; goes(); i++) {
    const doc_id = i % 5 === 4 ? `${name}${i - 1}` : `${name}${i}`
    const answer = i % 5 === 4 ? await call(server, 'DELETE', `${at}/rows`, { doc_ids: [doc_id] })
      : await call(server, 'PUT', `${at}/rows`, { rows: [{ doc_id, text: `by hand ${doc_id}` }] })
    same(answer.status, 200, answer.text)
    same(answer.json.deleted ?? 1, 1, doc_id)
    now.set(doc_id, i % 5 !== 4)
  }
  return now
}

// What each server finds of what was written, once it has had the time to look.
export async function checkAll(servers, expected) {
  for (const [i, server] of servers.entries()) {
    let wrong
    const agrees = async () => {
      const answer = await call(server, 'POST', '/vectors/search', { index: 'notes', query: 'hand', k: 9000, exact: true, rows: false })
      const found = new Set(answer.json.hits?.map(hit => hit.doc_id))
      wrong = answer.status === 200 ? [...expected].filter(([id, there]) => found.has(id) !== there).map(([id]) => id) : [answer.text]
      return wrong.length === 0
    }
    await within(15000, agrees).catch(() => { throw new Error(`server ${i}: ${wrong.length} of ${expected.size} documents are wrong: ${wrong.slice(0, 5)}`) })
  }
}

// Writes through the second while `change(i)` is done `times` times, and checks what became of them.
export async function writeWhile(servers, times, change) {
  let going = true
  const writing = [write(servers[1], `b${Date.now()}x`, () => going), write(servers[1], `c${Date.now()}x`, () => going)]
  try {
    for (let i = 0; i < times; i++) await change(i)
  } finally {
    going = false
  }
  const expected = new Map((await Promise.all(writing)).flatMap(map => [...map]))
  truth(expected.size > times, `${expected.size} documents in ${times} changes`)
  console.log(`     ${expected.size} documents in ${times} changes`)
  await checkAll(servers, expected)
  return expected
}
