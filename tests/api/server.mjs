import { call, check, freshDir, problem, same, startServer, truth } from '../kit/server.mjs'

const server = await startServer(freshDir())

await check('one line says where the server listens', () => {
  truth(/^lakehouse \S+ listening on http:\/\/127\.0\.0\.1:\d+\n$/.test(server.out), server.out)
})

await check('health, readiness and metrics answer', async () => {
  const health = await call(server, 'GET', '/health')
  same([health.status, health.json.status], [200, 'ok'])
  truth(health.json.version && health.json.uptime_ms >= 0, health.text)
  const ready = await call(server, 'GET', '/ready')
  same([ready.status, ready.json.parts], [200, { storage: 'ready', query: 'ready', embedder: 'ready' }])
  const metrics = await call(server, 'GET', '/metrics')
  truth(metrics.headers.get('content-type').startsWith('text/plain; version=0.0.4'), 'content type')
  truth(/lakehouse_requests_total\{method="GET",route="\/health",status="2xx"\} 1\n/.test(metrics.text), metrics.text)
  for (const line of metrics.text.trim().split('\n'))
    truth(/^(# (HELP|TYPE) |[a-z_]+(\{[^}]*\})? [-+.e0-9]+$)/.test(line), line)
})

await check('the OpenAPI document names every route that answers, and no other', async () => {
  const { json } = await call(server, 'GET', '/openapi.json')
  same(json.openapi, '3.1.0')
  truth(Object.keys(json.paths).length > 20, 'paths')
  for (const [path, operations] of Object.entries(json.paths))
    for (const method of Object.keys(operations)) {
      const url = path.replace(/\{[^}]+\}/g, 'nothing-of-that-name')
      if (path === '/jobs/{id}/events' || path === '/storage/errors/compact') continue
      const answer = await call(server, method.toUpperCase(), url)
      truth(answer.json?.code !== 'route_not_found' && answer.status !== 405, `${method} ${path}: ${answer.text}`)
    }
  const search = json.paths['/vectors/search'].post.requestBody.content['application/json'].schema
  same([search.additionalProperties, search.required], [false, ['index']])
})

await check('errors are problem+json with a code, a detail and the request id that was sent', async () => {
  const answer = await call(server, 'GET', '/nowhere', undefined, { 'x-request-id': 'mine-1' })
  problem(answer, 404, 'route_not_found')
  same(answer.headers.get('x-request-id'), 'mine-1')
  const method = await call(server, 'POST', '/health')
  problem(method, 405, 'method_not_allowed')
  same(method.headers.get('allow'), 'GET, HEAD')
})

await check('unknown parameters and fields, wrong types and bad JSON are refused by name', async () => {
  truth(problem(await call(server, 'GET', '/storage/errors?limt=5'), 400, 'unknown_parameter').includes("'limit'"), 'a guess')
  problem(await call(server, 'GET', '/storage/errors?limit=many'), 400, 'wrong_type')
  problem(await call(server, 'POST', '/query', { sqll: 'SELECT 1' }), 400, 'unknown_field')
  problem(await call(server, 'POST', '/query', { sql: 5 }), 400, 'wrong_type')
  problem(await call(server, 'POST', '/query', {}), 400, 'missing_field')
  same((await call(server, 'POST', '/query', '{"sql":', { 'content-type': 'application/json' })).status, 400)
  problem(await call(server, 'POST', '/query', 'x', { 'content-type': 'text/xml' }), 415, 'unsupported_media_type')
  problem(await call(server, 'POST', '/query'), 400, 'missing_body')
  problem(await call(server, 'POST', '/ingest/file', 'a\n1\n'), 400, 'missing_parameter')
})

await check('embeddings in our own shape and in OpenAI\'s', async () => {
  const ours = await call(server, 'POST', '/ai/embed', { texts: ['one', 'two words'] })
  same([ours.json.model, ours.json.dimensions, ours.json.embeddings.length], ['builtin', 384, 2])
  const theirs = await call(server, 'POST', '/v1/embeddings', { input: 'one' })
  same(theirs.json.data[0].embedding, ours.json.embeddings[0])
  same((await call(server, 'GET', '/v1/models')).json.data[0].id, 'builtin')
  problem(await call(server, 'POST', '/ai/embed', { texts: ['x'], model: 'none' }), 404, 'model_not_found')
  problem(await call(server, 'POST', '/ai/embed', { texts: [5] }), 400, 'wrong_type')
})

await check('without keys only the loopback address may be listened on', async () => {
  await startServer(freshDir(), { env: { LAKEHOUSE_GATEWAY_HOST: '0.0.0.0' }, args: ['--listen', '0.0.0.0:0'] })
    .then(() => { throw new Error('it started') }, error => truth(/127\.0\.0\.1/.test(error.message), error.message))
})

await check('SIGINT stops the server with status 0', async () => {
  same(await server.stop('SIGINT'), { code: 0, signal: null })
})
