// benchmark: vector searches through HTTP beside the same searches in the process
// 100,000 x 768 made vectors, ef 34 (recall@10 of about 0.99). search_beside.c takes the ways in
// turns. With raw floats a body holds one vector or a hundred; a request without a search is what
// carrying one takes. Clients and server share the machine's cores; with one client a core falls
// asleep between two requests, so that it is measured with cores kept awake as well.
import { measureSearches, startMade } from './made_index.mjs'
import { printTable, quick } from './report.mjs'

const dimensions = 768, ef = 34, rows = quick ? 10000 : 100000
const made = await startMade(rows, dimensions)
const rate = measureSearches(made, ef, quick ? 3 : 11)
const names = { direct: 'in the process', nothing: 'HTTP, no search: GET /health', raw: 'HTTP, raw floats, 1 a request', 'raw-many': 'HTTP, raw floats, 100 a request', json: 'HTTP, JSON' }
console.log(`${rows} x ${dimensions}, ef ${ef}`)
const beside = (key, state) => 1e6 / rate[key + state] - (key === 'nothing' ? 0 : 1e6 / rate[`direct${state}`])
printTable(['', 'q/s, 1 client', '2 clients', 'to the process, 1 client', '2 clients', 'us beside the search, 1 client', 'cores kept awake'],
  Object.entries(names).map(([key, name]) => [name, rate[`${key}1`], rate[`${key}2`], rate[`${key}1`] / rate.direct1, rate[`${key}2`] / rate.direct2, beside(key, '1'), beside(key, 'AWAKE')]))
await made.server.stop()
