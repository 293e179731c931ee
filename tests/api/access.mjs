// Access keys: every scope on every route, and keys that are bound to a profile, which reach what that reaches and
// nothing else, whichever way it is named.
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { binary, call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const dir = freshDir(), data = join(dir, 'data'), config = join(dir, 'lakehouse.toml')
const makeKey = (name, scopes, profile) => {
  const out = execFileSync(binary, ['key', 'new', '--name', name, '--scopes', scopes, ...profile ? ['--profile', profile] : []],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [secret] = out.split('\n')
  return { secret, toml: out.slice(secret.length + 2) }
}
const keys = { read: makeKey('reader', 'read'), write: makeKey('writer', 'write'), admin: makeKey('boss', 'admin'),
  all: makeKey('all', 'read,write,admin'), hr: makeKey('hr-app', 'read,write', 'hr'), law: makeKey('law-app', 'read, write', 'law'),
  open: makeKey('open-app', 'read,write', 'open'), ghost: makeKey('ghost', 'read', 'nobody') }
const configure = names => writeFileSync(config, names.map(name => keys[name].toml).join('\n'))
const env = { LAKEHOUSE_LOG_LEVEL: 'debug' }
const start = (more = {}) => startServer(data, { env, args: ['--config', config], ...more })
configure(Object.keys(keys))
let server = await start(), log = ''
const as = (who, method, path, body, headers = {}) =>
  call(server, method, path, body, { authorization: `Bearer ${keys[who].secret}`, ...headers })
const sql = (who, text, more) => as(who, 'POST', '/query', { sql: text, ...more })
const rows = (dataset, texts) => as('all', 'POST', `/ingest/file?dataset=${dataset}&format=ndjson`,
  texts.map((text, id) => JSON.stringify({ id, text })).join('\n'))
const create = (who, spec) => as(who, 'POST', '/vectors/indexes?wait=true', { text_column: 'text', ...spec })
const openapi = (await call(server, 'GET', '/openapi.json')).json
const routes = Object.entries(openapi.paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, operation]) =>
  ({ path, method: method.toUpperCase(), needs: operation.security[0]?.key[0], whole: operation['x-whole-server'], operation })))
const url = path => path.replace(/\{[^}]+\}/g, 'nothing-of-that-name')
const endless = path => path === '/jobs/{id}/events'

for (const [name, texts] of [['people', ['ada wrote a program', 'grace wrote a compiler']], ['laws', ['a law of rivers', 'a law of stones']]])
  same((await rows(name, texts)).status, 201)
for (const [id, scope] of [['hr', { datasets: ['people', 'more'] }], ['law', { datasets: ['laws', 'cases'], indexes: ['laws', 'lawlance', 'cases'] }], ['open', {}]])
  same((await as('all', 'PUT', `/vectors/profile/${id}`, { ollama_name: 'm', ...scope })).status, 201)
for (const [index, dataset, vector_backend] of [['people', 'people', 'parquet'], ['peoplelance', 'people', 'lance'],
  ['laws', 'laws', 'parquet'], ['lawlance', 'laws', 'lance']])
  same((await create('all', { index, dataset, vector_backend })).status, 201)
const twin = { people: 'laws', peoplelance: 'lawlance', laws: 'people', lawlance: 'peoplelance' }

await check('without a key every route but health, readiness and what describes the API is 401 and says how to send one', async () => {
  const free = routes.filter(route => !route.needs).map(route => route.path)
  same(free.sort(), ['/', '/health', '/openapi.json', '/ready', '/storage/health'])
  for (const { path, method, needs } of routes) {
    const answer = await call(server, method, url(path))
    if (!needs) { same(answer.status, 200, path); continue }
    truth(problem(answer, 401, 'no_key').includes('LAKEHOUSE_KEY'), answer.text)
    same(answer.headers.get('www-authenticate'), 'Bearer', path)
  }
})

await check('a probe without a key learns whether the server is ready, and not what is wrong where', async () => {
  const [blind, known] = [(await call(server, 'GET', '/ready')).json, (await as('read', 'GET', '/ready')).json]
  same([blind.ready, blind.parts, blind.buckets_unreachable], [true, known.parts, undefined])
  same(known.buckets_unreachable, [])
})

await check('a key that is not known, or not a bearer\'s, is 401; the scheme\'s case and spaces do not matter', async () => {
  const good = keys.read.secret
  for (const sent of [`Bearer ${good}x`, `Bearer ${good.slice(0, -1)}`, 'Bearer lh_', `Bearer ${'a'.repeat(5000)}`, `Bearer ${good} ${good}`, `Bearer ${good.toUpperCase()}`]) {
    const answer = await call(server, 'GET', '/catalog/datasets', undefined, { authorization: sent })
    problem(answer, 401, 'wrong_key')
    same(answer.headers.get('www-authenticate'), 'Bearer')
  }
  for (const sent of [good, `Basic ${good}`, 'Bearer', 'Bearer '])
    problem(await call(server, 'GET', '/catalog/datasets', undefined, { authorization: sent }), 401, 'no_key')
  for (const sent of [`bearer ${good}`, `BEARER   ${good}  `])
    same((await call(server, 'GET', '/catalog/datasets', undefined, { authorization: sent })).status, 200)
})

await check('each scope opens the routes that need it and no other; admin opens all', async () => {
  for (const { path, method, needs } of routes.filter(route => route.needs && !endless(route.path)))
    for (const who of ['read', 'write', 'admin', 'all']) {
      const answer = await as(who, method, url(path))
      if (who === needs || who === 'admin' || who === 'all')
        truth(answer.status !== 401 && answer.json?.code !== 'missing_scope', `${who} ${method} ${path}: ${answer.text}`)
      else truth(problem(answer, 403, 'missing_scope').includes(`'${needs}'`), answer.text)
    }
  same((await as('admin', 'POST', '/vectors/agent/resume')).status, 200)
})

await check('what reads needs read, SQL and searches by POST too; what changes something needs write', async () => {
  const needs = Object.fromEntries(routes.map(route => [`${route.method} ${route.path}`, route.needs]))
  for (const [route, scope] of Object.entries({ 'POST /query': 'read', 'POST /vectors/search': 'read', 'POST /vectors/lance/search/{index}': 'read',
    'POST /vectors/profile/{id}/search': 'read', 'POST /ai/embed': 'read', 'POST /ingest/file': 'write', 'DELETE /catalog/datasets/{name}': 'write',
    'PUT /storage/buckets/{bucket}/objects/{key}': 'write', 'POST /storage/buckets': 'admin', 'PUT /vectors/profile/{id}': 'admin', 'GET /metrics': 'read' }))
    same(needs[route], scope, route)
  for (const { path, method, needs: scope } of routes)
    if (method !== 'GET' && method !== 'POST') truth(scope === 'write' || scope === 'admin', `${method} ${path}`)
})

await check('a refused body is not waited for, and the connection goes on', async () => {
  problem(await call(server, 'POST', '/ingest/file?dataset=big&format=csv', 'a\n'.repeat(200000)), 401, 'no_key')
  problem(await call(server, 'POST', '/query', { sql: 'x'.repeat(300000) }), 401, 'no_key')
  problem(await as('read', 'PUT', '/storage/buckets/primary/objects/x', 'y'.repeat(100000)), 403, 'missing_scope')
  same((await as('read', 'GET', '/catalog/datasets')).json.map(dataset => dataset.name), ['laws', 'people'])
})

await check('a key that is bound to a profile does nothing that concerns the whole server', async () => {
  const whole = routes.filter(route => route.whole)
  truth(whole.length > 20, 'routes')
  for (const { path, method, needs } of whole)
    problem(await as('hr', method, url(path)), 403, needs === 'admin' ? 'missing_scope' : 'out_of_scope')
  problem(await as('hr', 'GET', '/storage/buckets/primary/objects/_lakehouse/format'), 403, 'out_of_scope')
  problem(await as('hr', 'POST', '/ingest/file?dataset=more&object=primary/_lakehouse/format&format=csv'), 403, 'out_of_scope')
  problem(await as('ghost', 'GET', '/catalog/datasets'), 403, 'profile_not_found')
})

// What each route of an index takes, so that it is not refused before the index is looked for.
const bodies = { 'POST search': { query: 'law' }, 'PUT rows': { rows: [] }, 'DELETE rows': { doc_ids: [] }, 'POST append': { rows: [] },
  'PUT evals': { sample: 1, seed: 1 }, 'POST trials': { config: {}, eval: 'e', k: 1 }, 'POST autotune': { grid: { ef_search: [10] }, eval: 'e' },
  'POST promotions': { trial: 1 }, 'POST index': {} }
const bodyOf = ({ path, method, operation }) => {
  if (!operation.requestBody) return undefined
  const found = path.split('/').map(word => bodies[`${method} ${word}`]).find(body => body)
  truth(found, `no body is known for ${method} ${path}`)
  return found
}
const harmless = ({ path, method }) => !(method === 'DELETE' && path === '/vectors/indexes/{index}') && !path.includes('/migrate/')

await check('every route of an index is 403 for one outside of the profile, in both directions, and open within', async () => {
  const mine = routes.filter(route => route.path.includes('{index}') && !route.whole)
  truth(mine.length > 20, 'routes')
  for (const route of mine)
    for (const [who, own] of [['hr', 'people'], ['hr', 'peoplelance'], ['law', 'laws'], ['law', 'lawlance']]) {
      const at = index => route.path.replace('{index}', index).replace(/\{[^}]+\}/g, '0') +
        (route.operation.parameters.some(p => p.name === 'wait') ? '?wait=true' : '')
      const denied = await as(who, route.method, at(twin[own]), bodyOf(route))
      problem(denied, 403, 'out_of_scope')
      if (!harmless(route)) continue
      const answer = await as(who, route.method, at(own), bodyOf(route))
      truth(answer.status !== 401 && answer.status !== 403, `${who} ${route.method} ${at(own)}: ${answer.text}`)
    }
})

await check('searches find what is within, and nothing outside by the index, a filter or the joined rows', async () => {
  const search = (who, body) => as(who, 'POST', '/vectors/search', { k: 1, ...body })
  for (const [who, index] of [['hr', 'people'], ['hr', 'peoplelance'], ['law', 'laws'], ['law', 'lawlance']]) {
    const found = await search(who, { index, query: 'rivers compiler' })
    truth(found.json.hits?.[0].row.text, found.text)
    problem(await search(who, { index: twin[index], query: 'x' }), 403, 'out_of_scope')
  }
  const raw = new Float32Array(384).fill(1)
  const headers = { 'content-type': 'application/octet-stream' }
  same((await as('hr', 'POST', '/vectors/search?index=people&k=1', raw, headers)).status, 200)
  problem(await as('hr', 'POST', '/vectors/search?index=laws&k=1', raw, headers), 403, 'out_of_scope')
  problem(await search('hr', { index: 'people', query: 'x', filter: 'id IN (SELECT id FROM laws)' }), 403, 'out_of_scope')
  problem(await search('hr', { index: 'people', query: 'x', filter: "id IN (SELECT CAST(doc_id AS INT) FROM vector_search('laws', 'x'))" }), 403, 'out_of_scope')
  truth(!problem(await search('hr', { index: 'lawss', query: 'x' }), 404, 'index_not_found').includes("'laws'"), 'the hint tells')
  truth(problem(await search('law', { index: 'lawss', query: 'x' }), 404, 'index_not_found').includes("'laws'"), 'no hint')
})

await check('SQL reads the datasets of the profile, and no others however they are named', async () => {
  same((await sql('hr', 'SELECT count(*) FROM people')).json.rows, [[2]])
  same((await sql('hr', "SELECT count(*) FROM vector_search('people', 'compiler', 1)")).json.rows, [[1]])
  for (const text of ['SELECT * FROM laws', 'SELECT * FROM main.laws', 'SELECT * FROM "LAWS"', 'SELECT p.id FROM people p JOIN laws l ON true', 'WITH x AS (SELECT * FROM laws) SELECT count(*) FROM x',
    'SELECT (SELECT max(text) FROM laws)', 'SELECT id FROM people UNION ALL SELECT id FROM laws', 'SELECT id FROM people WHERE EXISTS (FROM laws)', 'FROM laws',
    "SELECT * FROM vector_search('laws', 'x', 1)", "SELECT * FROM vector_search('people', 'x', 1, filter := 'id IN (SELECT id FROM laws)')"])
    for (const format of ['json', 'csv', 'arrow', 'parquet']) problem(await sql('hr', text, { format }), 403, 'out_of_scope')
  problem(await sql('hr', 'SELECT * FROM laws', { as_of: { laws: 1 } }), 403, 'out_of_scope')
  problem(await sql('hr', 'SELECT * FROM vector_search(?, ?, 1)', { params: ['laws', 'x'] }), 403, 'out_of_scope')
  for (const text of ['DESCRIBE laws', 'SHOW TABLES', 'SELECT * FROM information_schema.tables', 'SELECT * FROM duckdb_tables()'])
    problem(await sql('hr', text), 403, 'sql_forbidden')
  same((await sql('all', 'SELECT count(*) FROM laws')).json.rows, [[2]])
})

await check('lists, lineage and hints name what is within alone', async () => {
  const names = async (who, path, member) => (await as(who, 'GET', path)).json.map(item => item[member])
  same(await names('hr', '/catalog/datasets', 'name'), ['people'])
  same([await names('hr', '/vectors/indexes', 'index'), await names('law', '/vectors/indexes', 'index')], [['people', 'peoplelance'], ['lawlance', 'laws']])
  same(await names('hr', '/vectors/promotions', 'index'), ['people', 'peoplelance'])
  same((await create('all', { index: 'peopletoo', dataset: 'people' })).status, 201)
  same((await as('all', 'PUT', '/vectors/profile/open', { ollama_name: 'm', indexes: ['peoplelance'] })).status, 200)
  const lineage = async who => (await as(who, 'GET', '/catalog/lineage/people')).json.nodes.filter(node => node.kind === 'index').map(node => node.name)
  same([await lineage('hr'), await lineage('open')], [['people', 'peoplelance', 'peopletoo'], ['peoplelance']])
  same((await as('all', 'PUT', '/vectors/profile/open', { ollama_name: 'm' })).status, 200)
  same((await as('all', 'DELETE', '/vectors/indexes/peopletoo')).status, 200)
})

await check('every route of a dataset is 403 for one outside of the profile', async () => {
  const catalog = { PATCH: { owner: 'me' }, rollback: { version: 1 }, delete: { where: 'id = 0' } }
  for (const { path, method, operation } of routes.filter(route => route.path.startsWith('/catalog/') && route.path.includes('{name}'))) {
    const body = operation.requestBody && (catalog[path.split('/').pop()] ?? catalog[method])
    problem(await as('hr', method, path.replace('{name}', 'laws'), body), 403, 'out_of_scope')
  }
  for (const mode of ['create', 'append', 'replace'])
    problem(await as('hr', 'POST', `/ingest/file?dataset=laws&format=csv&mode=${mode}`, 'id\n1\n'), 403, 'out_of_scope')
  problem(await as('hr', 'POST', '/ingest/file?dataset=new&format=csv', 'id\n1\n'), 403, 'out_of_scope')
  const dsn = 'postgresql://nobody@127.0.0.1:1/none'
  problem(await as('hr', 'POST', '/ingest/db?wait=true', { dsn, table: 't', dataset: 'laws', mode: 'append' }), 403, 'out_of_scope')
  problem(await as('hr', 'POST', '/catalog/datasets/people/delete', { where: 'id IN (SELECT id FROM laws)' }), 403, 'out_of_scope')
  same((await sql('all', 'SELECT count(*) FROM people')).json.rows, [[2]])
})

await check('within the profile datasets and indexes are made, changed and dropped', async () => {
  same((await as('hr', 'POST', '/ingest/file?dataset=more&format=csv', 'id,text\n1,one\n')).status, 201)
  same((await as('hr', 'PATCH', '/catalog/datasets/more', { owner: 'me' })).json.owner, 'me')
  same((await create('hr', { index: 'more', dataset: 'more' })).status, 201)
  problem(await create('hr', { index: 'mine', dataset: 'laws' }), 403, 'out_of_scope')
  problem(await create('law', { index: 'mine', dataset: 'laws' }), 403, 'out_of_scope')
  same((await as('all', 'GET', '/vectors/indexes/mine')).status, 404)
  const job = await as('hr', 'POST', '/vectors/indexes/more/refresh')
  same(job.status, 202)
  let now
  do now = (await as('hr', 'GET', job.headers.get('location'))).json; while (['queued', 'running'].includes(now.state))
  same([now.state, now.result.index], ['succeeded', 'more'], JSON.stringify(now))
  same((await as('hr', 'DELETE', '/vectors/indexes/more')).status, 200)
  same((await as('hr', 'DELETE', '/catalog/datasets/more?purge=true')).status, 200)
  same((await create('all', { index: 'hidden', dataset: 'laws' })).status, 201)
  problem(await as('law', 'DELETE', '/catalog/datasets/laws'), 409, 'dataset_in_use')
  same((await as('all', 'DELETE', '/vectors/indexes/hidden')).status, 200)
})

await check('what lives in another profile\'s bucket is that profile\'s, unless it is named', async () => {
  same((await as('all', 'POST', '/storage/buckets', { name: 'profile:law', backend: 'local', root: join(dir, 'law') })).status, 201)
  same((await as('all', 'POST', '/ingest/file?dataset=cases&format=csv&bucket=profile:law', 'id,text\n1,a case\n')).status, 201)
  same((await create('all', { index: 'cases', dataset: 'cases', bucket: 'profile:law' })).status, 201)
  problem(await sql('open', 'SELECT * FROM cases'), 403, 'out_of_scope')
  problem(await as('open', 'POST', '/vectors/search', { index: 'cases', query: 'x' }), 403, 'out_of_scope')
  same((await as('open', 'GET', '/catalog/datasets')).json.map(dataset => dataset.name), ['laws', 'people'])
  problem(await as('open', 'POST', '/ingest/file?dataset=theirs&format=csv&bucket=profile:law', 'id\n1\n'), 403, 'out_of_scope')
  problem(await create('open', { index: 'theirs', dataset: 'laws', bucket: 'profile:law' }), 403, 'out_of_scope')
  for (const path of ['/vectors/indexes/theirs', '/catalog/datasets/theirs']) same((await as('all', 'GET', path)).status, 404)
  same((await sql('law', 'SELECT count(*) FROM cases')).json.rows, [[1]])
  same((await as('all', 'PUT', '/vectors/profile/open', { ollama_name: 'm', indexes: ['cases'] })).status, 200)
  same((await as('open', 'POST', '/vectors/search', { index: 'cases', query: 'x' })).json.hits[0].row.text, 'a case')
  same((await sql('open', 'SELECT count(*) FROM cases')).json.rows, [[1]])
})

await check('a profile that names indexes alone reaches their datasets, and no others', async () => {
  same((await as('open', 'GET', '/catalog/datasets')).json.map(dataset => dataset.name), ['cases'])
  problem(await as('open', 'POST', '/vectors/search', { index: 'people', query: 'x' }), 403, 'out_of_scope')
  for (const dataset of ['people', 'laws', 'nowhere']) problem(await sql('open', `SELECT * FROM ${dataset}`), 403, 'out_of_scope')
})

await check('a profile that names nothing reaches what is no other profile\'s, and what its indexes are made of', async () => {
  same((await as('all', 'PUT', '/vectors/profile/open', { ollama_name: 'm' })).status, 200)
  same((await sql('open', 'SELECT count(*) FROM laws JOIN people USING (id)')).json.rows, [[2]])
  problem(await sql('open', 'SELECT * FROM cases'), 403, 'out_of_scope')
  same((await create('all', { index: 'shared', dataset: 'cases' })).status, 201)
  same((await as('open', 'POST', '/vectors/search', { index: 'shared', query: 'x' })).json.hits[0].row.text, 'a case')
  same((await sql('open', 'SELECT count(*) FROM cases')).json.rows, [[1]])
  problem(await as('open', 'GET', '/vectors/indexes/cases'), 403, 'out_of_scope')
  same((await as('all', 'DELETE', '/vectors/indexes/shared')).status, 200)
})

await check('a bound key sees its own profile, changes none, and a change of it holds at once', async () => {
  same((await as('hr', 'GET', '/vectors/profile/hr')).json.id, 'hr')
  problem(await as('hr', 'GET', '/vectors/profile/law'), 403, 'out_of_scope')
  for (const id of ['hr', 'law']) {
    problem(await as('hr', 'PUT', `/vectors/profile/${id}`, { ollama_name: 'm' }), 403, 'missing_scope')
    problem(await as('hr', 'DELETE', `/vectors/profile/${id}`), 403, 'missing_scope')
  }
  for (const verb of ['activate', 'deactivate']) problem(await as('hr', 'POST', `/vectors/profile/law/${verb}`), 403, 'out_of_scope')
  same((await as('hr', 'POST', '/vectors/profile/hr/search', { index: 'people', query: 'x', k: 1 })).status, 200)
  problem(await as('hr', 'POST', '/vectors/profile/law/search', { index: 'laws', query: 'x' }), 403, 'out_of_scope')
  same((await as('all', 'PUT', '/vectors/profile/hr', { ollama_name: 'm', datasets: ['laws'] })).status, 200)
  same((await sql('hr', 'SELECT count(*) FROM laws')).json.rows, [[2]])
  problem(await sql('hr', 'SELECT * FROM people'), 403, 'out_of_scope')
  same((await as('all', 'PUT', '/vectors/profile/hr', { ollama_name: 'm', datasets: ['people', 'more'] })).status, 200)
})

await check('requests side by side keep to their own keys', async () => {
  const ask = async i => {
    const who = ['hr', 'law', 'all'][i % 3], index = i % 2 ? 'people' : 'laws'
    const allowed = who === 'all' || who === (index === 'people' ? 'hr' : 'law')
    const answer = i % 4 < 2 ? await as(who, 'POST', '/vectors/search', { index, vector: Array(384).fill(1), k: 1, rows: false })
      : await sql(who, `SELECT count(*) FROM vector_search('${index}', 'x', 1)`)
    same(answer.status, allowed ? 200 : 403, `${who} ${index}: ${answer.text}`)
  }
  for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 48 }, (_, i) => ask(i)))
})

await check('the command line sends the key from the environment or a file, and says what is missing', async () => {
  const file = join(dir, 'key')
  writeFileSync(file, `${keys.read.secret}\n`)
  const run = (args, more = {}) => spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, LAKEHOUSE_URL: server.url, ...more } })
  for (const done of [run(['datasets'], { LAKEHOUSE_KEY: keys.read.secret }), run(['datasets', '--key-file', file])])
    truth(done.status === 0 && done.stdout.includes('people'), done.stderr)
  const without = run(['datasets'])
  truth(without.status === 1 && without.stderr.includes('LAKEHOUSE_KEY'), without.stderr)
  same(run(['datasets', '--key', keys.read.secret]).status, 2)
})

await check('lakehouse check names the keys and the profile that is not there', () => {
  const out = spawnSync(binary, ['check', '--config', config, '--data', data], { encoding: 'utf8' }).stdout
  truth(/hr-app: read, write; profile hr\n/.test(out) && /ghost: read; profile nobody: no profile named/.test(out), out)
})

await check('a key that is taken out of the configuration is refused after a restart; others go on', async () => {
  await server.stop()
  log += server.log
  configure(['all', 'law'])
  server = await start()
  problem(await as('read', 'GET', '/catalog/datasets'), 401, 'wrong_key')
  same((await as('all', 'GET', '/catalog/datasets')).status, 200)
  problem(await sql('law', 'SELECT * FROM people'), 403, 'out_of_scope')
})

await check('keys come from the environment too', async () => {
  await server.stop()
  log += server.log
  const sha256 = /sha256 = "(.*)"/.exec(keys.read.toml)[1]
  server = await startServer(data, { env: { ...env, LAKEHOUSE_AUTH_KEYS: JSON.stringify([{ name: 'ci', sha256, scopes: ['read'] }]) } })
  same((await as('read', 'GET', '/catalog/datasets')).status, 200)
  problem(await as('all', 'GET', '/catalog/datasets'), 401, 'wrong_key')
})

await check('with keys other machines may connect, and the log says that nothing is encrypted', async () => {
  await server.stop()
  log += server.log
  server = await start({ args: ['--config', config, '--listen', '0.0.0.0:0'] })
  truth(/without TLS/.test(server.log) && !/no access keys/.test(server.log), server.log)
  server.url = server.url.replace('0.0.0.0', '127.0.0.1')
  problem(await call(server, 'GET', '/catalog/datasets'), 401, 'no_key')
})

await check('no key is in the log, which names who asked', async () => {
  await server.stop()
  log += server.log
  for (const { secret } of Object.values(keys)) truth(!log.includes(secret.slice(3, 20)), 'a key is in the log')
  truth(log.includes('key hr-app'), 'nobody is named')
})
