// Tables with a column of every type that the connectors map, made by the databases themselves: any
// number of rows, NULLs, unicode, extremes. A column says its type, its value as SQL over the row's
// number i, and how each side shows it, so that checksums of the two can be compared. `of` is the
// line of the mapping table (docs/postgresql.md, docs/mysql.md) that it stands for.
//
//   of, type, value, source (SQL of the database over the column c; default its text),
//   ours (SQL of the lakehouse over c; default its text)

// Every tenth row is NULL, each column at its own rows.
const orNull = (value, at) => `CASE WHEN (i + ${at}) % 10 = 0 THEN NULL ELSE ${value} END`
// Some rows in a thousand hold the extremes.
const mixed = (extremes, value) =>
  `CASE i % 1000 ${extremes.map((extreme, at) => `WHEN ${at * 7 + 1} THEN ${extreme}`).join(' ')} ELSE ${value} END`
const spread = 'i::bigint * 2654435761'
const words = "'zażółć ' || i || ' 漢字 🙂 ' || chr(10) || chr(9) || '\"\\' || i % 13"
const number = '(i * 37.5)::text'
// What both sides print floats as: 15 digits, 6 for a real; PostgreSQL does so with extra_float_digits = 0.
const shownFloat = digits => `CASE WHEN isnan(c) THEN 'NaN' WHEN isinf(c) THEN if(c > 0, 'Infinity', '-Infinity')
  ELSE printf('%.${digits}g', c::DOUBLE) END`

const text = (of, type, value) => ({ of, type, value })

export const postgresColumns = [
  text('boolean', 'boolean', 'i % 3 = 0'),
  text('smallint', 'smallint', '(i::bigint * 7919 % 65536 - 32768)::int2'),
  text('integer', 'integer', `(${spread} % 4294967296 - 2147483648)::int4`),
  text('bigint', 'bigint', mixed(["'-9223372036854775808'::int8", '9223372036854775807'], 'i::bigint * 1000003')),
  text('oid', 'oid', `(${spread} % 4294967296)::oid`),
  text('xid', 'xid', `(${spread} % 4294967296)::text::xid`),
  text('cid', 'cid', `(${spread} % 4294967296)::text::cid`),
  text('xid8', 'xid8', mixed(["'18446744073709551615'::xid8"], `(${spread})::text::xid8`)),
  { of: 'pg_lsn', type: 'pg_lsn', value: "'0/0'::pg_lsn + i * 4097::numeric", source: "(c - '0/0'::pg_lsn)::text" },
  { of: 'real', type: 'real', value: mixed(["'NaN'::real", "'Infinity'::real", "'-Infinity'::real", "'3.4028235e38'::real", "'-1e-45'::real"], '(i * 0.37)::real'),
    ours: shownFloat(6) },
  { of: 'double precision', type: 'double precision', ours: shownFloat(15),
    value: mixed(["'NaN'::float8", "'Infinity'::float8", "'-Infinity'::float8", "'1.7976931348623157e308'::float8", "'-5e-324'::float8"], 'i / 7.0::float8') },
  { of: 'numeric(p,s)', type: 'numeric(38,10)', source: "nullif(c::text, 'NaN')",
    value: mixed(["'NaN'::numeric", '-9999999999999999999999999999.9999999999', '9999999999999999999999999999.9999999999'], 'i::numeric / 1024 - 7000') },
  { of: 'numeric(p,s)', type: 'numeric(12,2)', value: 'i * 1.25' },
  { of: 'numeric(p,s)', type: 'numeric(5,-2)', value: 'i % 7777 * 100' },
  text('numeric', 'numeric', mixed(["'NaN'::numeric", '10::numeric ^ 60', '1::numeric / 3'], 'i::numeric * 1.000000000000000000000001')),
  { of: 'money', type: 'money', value: mixed(["'-92233720368547758.08'::money"], '(i * 0.01)::numeric::money'), source: 'c::numeric::text' },
  { of: 'date', type: 'date', source: "nullif(nullif(replace(c::text, ' BC', ' (BC)'), 'infinity'), '-infinity')",
    value: mixed(["'infinity'::date", "'-infinity'::date", "'4713-01-01 BC'::date", "'9999-12-31'::date"], "date '1900-01-01' + i % 80000") },
  { of: 'time', type: 'time', value: mixed(["'24:00:00'::time", "'23:59:59.999999'::time"], "time '00:00' + i * interval '0.123457 s'"), source: "nullif(c::text, '24:00:00')" },
  text('timetz', 'timetz', "(time '00:00' + i * interval '1 s')::timetz"),
  { of: 'timestamp', type: 'timestamp', source: "nullif(nullif(c::text, 'infinity'), '-infinity')",
    value: mixed(["'infinity'::timestamp", "'-infinity'::timestamp", "'0001-01-01'::timestamp", "'9999-12-31 23:59:59.999999'::timestamp"], "timestamp '1960-02-29' + i * interval '1.000001 s'") },
  { of: 'timestamptz', type: 'timestamptz', source: "nullif(c::text, 'infinity')",
    value: mixed(["'infinity'::timestamptz"], "timestamptz '2020-03-29 00:30+01' + i * interval '0.5 s'") },
  text('interval', 'interval', "i * interval '1 month 2 days 0.25 s'"),
  text('uuid', 'uuid', 'md5(i::text)::uuid'),
  { of: 'bytea', type: 'bytea', value: mixed(["'\\x'::bytea", "'\\x00ff00'::bytea"], "decode(md5(i::text), 'hex')"), source: "encode(c, 'hex')", ours: 'lower(hex(c))' },
  text('text', 'text', mixed(["''", "repeat('long 漢 ', 500)"], words)),
  text('varchar(n)', 'varchar(80)', words),
  { of: 'char(n)', type: 'char(20)', value: "'c' || i", source: 'c::text' },
  text('"char"', '"char"', '(i % 120 + 1)::int::"char"'),
  text('name', 'name', "('n' || i)::name"),
  text('json', 'json', `json_build_object('i', i, 'a', ARRAY[1, 2], 't', ${words})`),
  text('jsonb', 'jsonb', `jsonb_build_object('i', i, 'n', 1.50, 't', ${words})`),
  text('xml', 'xml', "('<r i=\"' || i || '\"/>')::xml"),
  text('inet', 'inet', "'10.0.0.0/8'::inet + i"),
  text('cidr', 'cidr', "('10.' || i % 250 || '.0.0/16')::cidr"),
  text('macaddr', 'macaddr', "substr(md5(i::text), 1, 12)::macaddr"),
  text('macaddr8', 'macaddr8', "substr(md5(i::text), 1, 16)::macaddr8"),
  text('bit(n)', 'bit(12)', '(i % 4096)::bit(12)'),
  text('bit varying', 'bit varying(12)', '(i % 4096)::bit(12)::varbit'),
  text('point', 'point', 'point(i, -i)'),
  text('line', 'line', "'{1,-1,0}'::line"),
  text('lseg', 'lseg', 'lseg(point(0, i), point(1, 1))'),
  text('box', 'box', 'box(point(0, 0), point(i, 1))'),
  text('path', 'path', "'[(0,0),(1,1)]'::path"),
  text('polygon', 'polygon', "'((0,0),(1,1),(2,0))'::polygon"),
  text('circle', 'circle', 'circle(point(0, 0), i)'),
  text('tsvector', 'tsvector', "('w' || i % 99 || ':1 x:2')::tsvector"),
  text('tsquery', 'tsquery', "('w' || i % 99)::tsquery"),
  text('regproc', 'regclass', "'pg_class'::regclass"),
  text('aclitem', 'aclitem', "makeaclitem(10, 10, 'SELECT', false)"),
  text('enums', 'mood', "(ARRAY['sad', 'ok', 'żółw'])[i % 3 + 1]::mood"),
  text('domains', 'positive', 'i'),
  { of: 'arrays', type: 'int[]', value: 'ARRAY[i, NULL, -i]', source: "array_to_string(c, ',', '*')", ours: "array_to_string(list_transform(c, x -> coalesce(x::VARCHAR, '*')), ',')" },
  { of: 'arrays', type: 'text[]', value: `ARRAY[${words}, '', NULL]`, source: "array_to_string(c, ',', '*')", ours: "array_to_string(list_transform(c, x -> coalesce(x, '*')), ',')" },
  { of: 'geometry, geography', type: 'geometry', value: 'ST_MakePoint(i, -i)', source: "encode(ST_AsBinary(c), 'hex')", ours: 'lower(hex(c))' },
  text('all others', 'int4range', 'int4range((i - 5)::int, i::int)'),
].map((column, at) => ({ source: 'c::text', ours: 'c::VARCHAR', ...column, name: `c${at}`, value: orNull(column.value, at) }))

export const postgresTable = (table, rows) => `CREATE EXTENSION IF NOT EXISTS postgis;
  CREATE TYPE mood AS ENUM ('sad', 'ok', 'żółw'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
  CREATE UNLOGGED TABLE ${table} (id int, ${postgresColumns.map(({ name, type }) => `${name} ${type}`).join(', ')});
  INSERT INTO ${table} SELECT i, ${postgresColumns.map(column => column.value).join(', ')} FROM generate_series(1, ${rows}) AS g(i)`

// MariaDB's: i is the row's number as well; DIV and CHR are its own words.
const trimmed = "regexp_replace(c::DOUBLE::VARCHAR, '[.]0$', '')"
const myWords = "CONCAT('zażółć ', i, ' 漢字 🙂 ', CHAR(10), CHAR(9), '\"\\\\', i % 13)"
const bytes = { source: 'LOWER(HEX(c))', ours: 'lower(hex(c))' }
const utf8 = { source: 'CONVERT(c USING utf8mb4)' }
const stamp = "strftime(c, '%Y-%m-%d %H:%M:%S.%f')"
const chars = 'char, enum, set, inet4, inet6', texts = "tinytext, text, mediumtext, longtext, MariaDB's json"
const blobs = 'tinyblob, blob, mediumblob, longblob'

export const mariadbColumns = [
  { of: 'tinyint(1), bool', type: 'bool', value: 'i % 3 = 0', source: "IF(c, 'true', 'false')" },
  { of: 'tinyint(1), bool', type: 'tinyint(1)', value: 'i % 250 - 125' },
  { of: 'tinyint', type: 'tinyint unsigned', value: 'i % 256' },
  { of: 'smallint', type: 'smallint', value: 'i * 7919 % 65536 - 32768' },
  { of: 'mediumint', type: 'mediumint unsigned', value: 'i * 7919 % 16777216' },
  { of: 'int', type: 'int', value: 'i * 2654435761 % 4294967296 - 2147483648' },
  { of: 'int unsigned', type: 'int unsigned', value: 'i * 2654435761 % 4294967296' },
  { of: 'bigint', type: 'bigint', value: mixed(['-9223372036854775808', '9223372036854775807'], 'i * 1000003') },
  { of: 'bigint unsigned', type: 'bigint unsigned', value: mixed(['18446744073709551615', '9223372036854775808'], 'i * 1000003') },
  { of: 'float', type: 'float', value: 'i * 0.37', source: 'c + 0e0', ours: trimmed },
  { of: 'double', type: 'double', value: 'i / 7e0', ours: trimmed },
  { of: 'decimal(p,s), p <= 38', type: 'decimal(38,10)', value: mixed(['-9999999999999999999999999999.9999999999', '9999999999999999999999999999.9999999999'], 'i / 1024 - 7000') },
  { of: 'decimal(p,s), p > 38', type: 'decimal(65,30)', value: mixed(['-12345678901234567890123456789012345.123456789012345678901234567890'], 'i * 1.000000000000000000000001') },
  { of: 'bit(1)', type: 'bit(1)', value: 'i % 2', source: "IF(c, 'true', 'false')" },
  { of: 'bit(n), n <= 63', type: 'bit(20)', value: 'i % 1048576', source: 'c + 0' },
  { of: 'bit(64)', type: 'bit(64)', value: mixed(['18446744073709551615'], 'i'), source: 'c + 0' },
  { of: 'year', type: 'year', value: '1901 + i % 255', source: 'c + 0' },
  { of: 'date', type: 'date', value: mixed(["'0000-00-00'", "'2024-00-00'", "'0001-01-01'", "'9999-12-31'"], "'1900-01-01' + INTERVAL i % 80000 DAY"),
    source: 'IF(YEAR(c) = 0 OR MONTH(c) = 0, NULL, c)' },
  { of: 'datetime(f)', type: 'datetime(6)', value: mixed(["'0000-00-00'", "'0001-01-01'", "'9999-12-31 23:59:59.999999'"], "'1960-02-29' + INTERVAL i * 1.000001 SECOND"),
    source: 'IF(YEAR(c) = 0, NULL, c)', ours: stamp },
  { of: 'timestamp(f)', type: 'timestamp(6) NULL', value: "'2020-03-29 00:30' + INTERVAL i * 0.5 SECOND", ours: stamp.replace('c,', "c AT TIME ZONE 'UTC',") },
  { of: 'time(f)', type: 'time(6)', value: mixed(["'-838:59:59.999999'", "'838:59:59.999999'"], 'SEC_TO_TIME(i % 86400 + 0.25)') },
  { of: 'uuid', type: 'uuid', value: 'MD5(i)' },
  { of: chars, type: 'char(20) CHARACTER SET latin1', value: "CONCAT('é', i)", ...utf8 },
  { of: chars, type: "enum('sad', 'ok', 'żółw')", value: 'i % 3 + 1' },
  { of: chars, type: "set('a', 'b', 'ż')", value: 'i % 8' },
  { of: chars, type: 'inet4', value: "CONCAT('10.1.', i % 200, '.7')" },
  { of: chars, type: 'inet6', value: "CONCAT('fe80::', i % 200 + 1)" },
  { of: 'binary', type: 'binary(16)', value: 'UNHEX(MD5(i))', ...bytes },
  { of: 'varchar', type: 'varchar(80)', value: myWords },
  { of: 'varbinary', type: 'varbinary(40)', value: mixed(["''", "x'00ff00'"], 'UNHEX(MD5(i))'), ...bytes },
  { of: texts, type: 'tinytext', value: myWords },
  { of: texts, type: 'text', value: mixed(["''", "REPEAT('long 漢 ', 500)"], myWords) },
  { of: texts, type: 'json', value: "JSON_OBJECT('i', i, 'n', 1.50)" },
  { of: blobs, type: 'tinyblob', value: 'UNHEX(MD5(i))', ...bytes },
  { of: blobs, type: 'mediumblob', value: mixed(["REPEAT(x'00fe', 2000)"], 'UNHEX(SHA1(i))'), ...bytes },
  { of: 'geometry, point, linestring, polygon, ...', type: 'geometry', value: 'POINT(i, -i)', source: 'LOWER(HEX(ST_AsBinary(c)))', ours: 'lower(hex(c))' },
].map((column, at) => ({ source: 'c', ours: 'c::VARCHAR', ...column, name: `c${at}`, value: orNull(column.value, at) }))

export const mariadbTable = (table, rows) => `SET sql_mode = ''; SET time_zone = '+00:00';
  CREATE TABLE ${table} (id int PRIMARY KEY, ${mariadbColumns.map(({ name, type }) => `${name} ${type}`).join(', ')}) ENGINE=InnoDB;
  INSERT INTO ${table} SELECT i, ${mariadbColumns.map(column => column.value).join(', ')} FROM (SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_${rows}) AS numbers`

// Of a column: rows that are not NULL, and the sum over the first 32 bits of the MD5 of each value with its row's number.
const shownAs = (shown, name) => shown.replaceAll(/\bc\b/g, name)
export const postgresSum = ({ name, source }, shown = shownAs(source, name)) =>
  `count(${shown}) || ' ' || coalesce(sum(('x' || left(md5(id || ' ' || ${shown}), 8))::bit(32)::bigint), 0)`
export const mariadbSum = ({ name, source }, shown = shownAs(source, name)) =>
  `CONCAT(COUNT(${shown}), ' ', COALESCE(SUM(CAST(CONV(LEFT(MD5(CONCAT(id, ' ', ${shown})), 8), 16, 10) AS UNSIGNED)), 0))`
export const ourSum = ({ name, ours }, shown = shownAs(ours, name)) =>
  `count(${shown}) || ' ' || coalesce(sum(('0x' || left(md5(id || ' ' || ${shown}), 8))::BIGINT), 0)`
