// Columns of every kind that LanceDB's encoders tell apart: few and many values, runs, constants,
// short and long texts, small and large vectors, each without and with nulls.
import * as arrow from 'apache-arrow'
import * as lancedb from '@lancedb/lancedb'

let state = 99
const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296
const below = n => Math.floor(random() * n)
const words = 'alpha beta gamma delta lakehouse vector database parquet engineer nurse driver welding'.split(' ')
const sentence = n => Array.from({ length: n }, () => words[below(words.length)]).join(' ')
const nulls = (make, share = 0.1) => i => random() < share ? null : make(i)
const floats = d => () => Array.from({ length: d }, () => Math.fround(random()))
const holes = d => () => Array.from({ length: d }, () => random() < 0.2 ? null : Math.fround(random()))
const list = d => new arrow.FixedSizeList(d, new arrow.Field('item', new arrow.Float32(), true))

const text = new arrow.Utf8(), int32 = new arrow.Int32(), int64 = new arrow.Int64(), real = new arrow.Float64()
const stamp = new arrow.TimestampMicrosecond(), stampUtc = new arrow.Timestamp(arrow.TimeUnit.MICROSECOND, 'UTC')
const columns = {
  s_short: [text, i => `id-${i}`], s_short_null: [text, nulls(i => `id-${i}`)],
  s_sentence: [text, () => sentence(8 + below(8))], s_sentence_null: [text, nulls(() => sentence(8 + below(8)))],
  s_few: [text, () => words[below(4)]], s_few_null: [text, nulls(() => words[below(4)])],
  s_same: [text, () => 'same'], s_same_null: [text, nulls(() => 'same')], s_all_null: [text, () => null],
  s_same_long: [text, () => 'a constant that is longer than thirty-two bytes'],
  s_long: [text, () => sentence(40 + below(60))], s_long_null: [text, nulls(() => sentence(40 + below(60)))],
  s_empty: [text, i => i % 3 ? '' : `x${i}`],
  i8: [new arrow.Int8(), () => below(256) - 128], i16: [new arrow.Int16(), nulls(() => below(65536) - 32768)],
  u8: [new arrow.Uint8(), nulls(() => below(256))], u16: [new arrow.Uint16(), () => below(65536)],
  u32: [new arrow.Uint32(), nulls(() => below(2 ** 32))], u64: [new arrow.Uint64(), () => BigInt(below(2 ** 31)) << 20n],
  i32_seq: [int32, i => i], i32_any: [int32, () => below(2 ** 31)], i32_negative: [int32, () => below(2000) - 1000],
  i32_small_null: [int32, nulls(() => below(100))], i32_same: [int32, () => 7], i32_same_null: [int32, nulls(() => 7)],
  i32_all_null: [int32, () => null], i32_runs: [int32, i => Math.floor(i / 100) * 7919],
  i32_few: [int32, () => [123456789, 987654321, 5, 77777777][below(4)]],
  i64_seq: [int64, i => BigInt(i) + 10000000000n], i64_any: [int64, () => BigInt(below(2 ** 31)) * BigInt(below(2 ** 31))],
  i64_null: [int64, nulls(i => BigInt(i))], i64_few: [int64, () => [1n << 60n, 77n, -5n][below(3)]],
  i64_runs_null: [int64, i => i % 500 < 250 ? BigInt(Math.floor(i / 50)) : null],
  f32: [new arrow.Float32(), () => Math.fround(random())], f32_null: [new arrow.Float32(), nulls(() => Math.fround(random()))],
  f64: [real, random], f64_null: [real, nulls(random)], f64_few: [real, () => [1.5, 2.25, 99.125][below(3)]],
  b: [new arrow.Bool(), () => random() < 0.5], b_null: [new arrow.Bool(), nulls(() => random() < 0.5)], b_same: [new arrow.Bool(), () => true],
  ts: [stamp, i => 1700000000000 + i * 1000], ts_null: [stamp, nulls(() => 1700000000000 + below(1e9))],
  ts_utc: [stampUtc, () => 1700000000000 + below(1e9)], day: [new arrow.DateDay(), nulls(i => 86400000 * (i % 20000))],
  bytes: [new arrow.Binary(), nulls(i => Buffer.from(`b${i % 100}`))],
  v8: [list(8), floats(8)], v8_null: [list(8), nulls(floats(8))], v128: [list(128), floats(128)], v128_null: [list(128), nulls(floats(128))],
  v4_holes: [list(4), holes(4)], v128_holes: [list(128), holes(128)],
}

// Arrow's builders cost a second a column of lists: their buffers are made by hand.
function listData(type, values) {
  const d = type.listSize, n = values.length
  const data = new Float32Array(n * d), valid = new Uint8Array((n + 7) >> 3), items = new Uint8Array((n * d + 7) >> 3)
  let nullCount = 0, itemNulls = 0
  const set = (bits, at) => { bits[at >> 3] |= 1 << (at & 7) }
  values.forEach((value, i) => {
    if (value) set(valid, i); else nullCount++
    for (let j = 0; j < d; j++) {
      if (value && value[j] === null) { itemNulls++; continue }
      set(items, i * d + j)
      if (value) data[i * d + j] = value[j]
    }
  })
  const child = arrow.makeData({ type: new arrow.Float32(), length: n * d, nullCount: itemNulls, nullBitmap: itemNulls ? items : undefined, data })
  return arrow.makeData({ type, length: n, nullCount, nullBitmap: nullCount ? valid : undefined, child })
}

export function everyColumn(n) {
  const fields = [], children = []
  for (const [name, [type, make]] of Object.entries(columns)) {
    const values = Array.from({ length: n }, (_, i) => make(i))
    fields.push(new arrow.Field(name, type, true))
    children.push(arrow.DataType.isFixedSizeList(type) ? listData(type, values) : arrow.vectorFromArray(values, type).data[0])
  }
  const schema = new arrow.Schema(fields)
  const struct = arrow.makeData({ type: new arrow.Struct(fields), length: n, nullCount: 0, children })
  return new arrow.Table(schema, new arrow.RecordBatch(schema, struct))
}

export function longTexts() {
  const schema = new arrow.Schema([new arrow.Field('big', text, true), new arrow.Field('mixed', text, true)])
  return lancedb.makeArrowTable(Array.from({ length: 40 }, (_, i) => ({ big: sentence(6000 + below(100)), mixed: i % 5 === 0 ? null : sentence(i % 3 ? 10 : 8000) })), { schema })
}
