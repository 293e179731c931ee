// Files that LanceDB wrote, for the fuzzers of Lance tables to begin with: one column a file, in each
// version of the format, with manifests and deletion files. Random bytes would end at their footer.
// usage: node tests/fuzz/lance_seeds.mjs DIRECTORY_OF_FUZZERS
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as lancedb from '@lancedb/lancedb'
import { everyColumn } from '../lance/lancedb_columns.mjs'

const BYTES_MAX = 65536 // the longest input that is tried
const folders = { data: 'lance_file', _versions: 'lance_manifest', _deletions: 'lance_deletion' }

const root = mkdtempSync(join(tmpdir(), 'lakehouse-seeds-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
for (const version of ['2.0', '2.1', '2.2']) {
  const storageOptions = { new_table_data_storage_version: version }
  const db = await lancedb.connect(join(root, version), { storageOptions })
  for (const rows of [30, 1100]) {
    const all = everyColumn(rows)
    for (const field of all.schema.fields) {
      const name = `${field.name}_${rows}`
      const table = await db.createTable(name, all.select([field.name]), { storageOptions })
      if (rows === 30) await table.delete(`${field.name} IS NULL`)
      const path = join(root, version, `${name}.lance`)
      for (const [folder, fuzzer] of Object.entries(folders)) {
        const corpus = join(process.argv[2], `${fuzzer}_fuzz.corpus`)
        mkdirSync(corpus, { recursive: true })
        for (const file of existsSync(join(path, folder)) ? readdirSync(join(path, folder)) : [])
          if (statSync(join(path, folder, file)).size <= BYTES_MAX) copyFileSync(join(path, folder, file), join(corpus, `lancedb-${version}-${name}-${file}`))
      }
    }
  }
}
