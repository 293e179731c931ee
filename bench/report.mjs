// What benchmarks share: a folder beside the build, figures of a process, medians and tables.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const build = process.env.BUILD ?? 'build'
export const quick = Boolean(process.env.QUICK)

// On the disk that holds the build: /tmp may be memory.
export function freshDir() {
  mkdirSync(build, { recursive: true })
  const dir = mkdtempSync(resolve(build, 'bench-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}

// A command's standard output; its failure is the benchmark's.
export function run(command, args, options = {}) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
    let out = ''
    child.stdout.on('data', part => { out += part })
    child.on('error', fail)
    child.on('exit', code => code === 0 ? done(out) : fail(new Error(`${command} ended with ${code}: ${out}`)))
  })
}

export const median = values => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

// A process and its children, which is what nginx is.
export function family(pid) {
  const children = readdirSync(`/proc/${pid}/task`)
    .flatMap(task => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '))
  return [pid, ...children.filter(Boolean).map(Number)]
}

function statusMib(pid, field) {
  const match = new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return match ? Number(match[1]) / 1024 : 0
}

const total = (pid, figure) => family(pid).map(figure).reduce((a, b) => a + b, 0)
export const residentMib = pid => total(pid, p => statusMib(p, 'VmRSS'))
export const peakMib = pid => total(pid, p => statusMib(p, 'VmHWM'))
export function resetPeak(pid) {
  for (const p of family(pid)) writeFileSync(`/proc/${p}/clear_refs`, '5')
}

// Processor seconds used so far.
export const cpuSeconds = pid => total(pid, p => {
  const fields = readFileSync(`/proc/${p}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
})

const digits = value => typeof value !== 'number' ? String(value)
  : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

// Columns as wide as what stands in them, the first to the left and the others to the right.
export function printTable(heads, rows) {
  const cells = [heads, ...rows].map(row => row.map(digits))
  const widths = heads.map((_, i) => Math.max(...cells.map(row => row[i].length)))
  for (const row of cells)
    console.log(row.map((cell, i) => i ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join('  ').trimEnd())
}
