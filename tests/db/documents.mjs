// Runs the commands of docs/ingest.md on real databases.
import { execFileSync } from 'node:child_process'
import { runCommands } from '../kit/documents.mjs'
import { check, freshDir, startServer, truth } from '../kit/server.mjs'
import { startService } from '../kit/services.mjs'

await check('the commands of the page on ingest run', async () => {
  const postgres = startService('postgres'), mariadb = startService('mariadb')
  execFileSync('psql', ['-qX', postgres.line], { input: 'CREATE TABLE orders AS SELECT i AS id, i * 2 AS total FROM generate_series(1, 100) i' })
  execFileSync('mariadb', ['--no-defaults', '-uroot', `--socket=${mariadb.dir}/my.sock`, '-D', 'lake'],
    { input: 'CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO customers VALUES (1, "Ada")' })
  const server = await startServer(freshDir())
  const ran = await runCommands(['docs/ingest.md'], server, {
    'postgresql://reader:secret@db.example.org/shop': postgres.line, 'mysql://reader:secret@my.example.org/shop': mariadb.line,
  })
  truth(ran >= 4, `only ${ran} commands were found`)
  await server.stop()
  postgres.stop()
  mariadb.stop()
})
